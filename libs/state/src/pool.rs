//! The owner of a pool's state: the only place that accepts facts and mints versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signalbox_types::{
    BlockHash, EndpointKey, EndpointSpec, Format, Incarnation, Load, Origin, PoolSpec, Version,
};

use crate::assign::{Assigned, Assignments, CollectorStream};
use crate::change::{Change, Observed};
use crate::feedback::{Feedback, Placement, Scope};
use crate::foreign::Foreign;
use crate::frame::Snapshot;
use crate::journal::{Bounds, Journal};
use crate::observe::{Reach, Report, Update};
use crate::origins::Origins;
use crate::picture::{Member, Picture, is_rebirth};

/// What an owner goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// By what placements are made and read.
    pub format: Format,
    /// After so long without a word of its collector an endpoint's values are stale.
    pub stale_after_ms: u64,
    /// After so long without a word of it a replica is given up.
    pub origin_ttl_ms: u64,
    /// Size of the KV cache of an endpoint that does not tell it.
    pub assumed_kv_tokens: u64,
    /// How much history is kept.
    pub journal: Bounds,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            format: Format::default(),
            stale_after_ms: 2_000,
            origin_ttl_ms: 3_000,
            assumed_kv_tokens: 500_000,
            journal: Bounds::default(),
        }
    }
}

/// What an owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The pool has these endpoints.
    Spec(PoolSpec),
    /// A collector has connected.
    CollectorJoined(CollectorStream, String),
    /// A collector's connection is gone.
    CollectorLeft(CollectorStream),
    /// A collector spoke; without reports it is a sign of life.
    Reports(CollectorStream, Vec<Report>),
    /// A replica spoke.
    Feedback(Feedback),
    /// Somebody knows of this epoch.
    EpochHeard(u64),
    /// Time has passed. Comes about every 50 ms.
    Tick,
}

/// What is to be done after an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There are changes up to this version for the followers.
    Published(Version),
    /// Tell a collector all that it shall read.
    Assign(CollectorStream, Vec<Assigned>),
    /// Ask a replica for the whole chain of one of its placements.
    NeedChain(Origin, u64),
    /// Tell a replica that it was given up.
    Expired(Origin),
    /// Another owner has a higher epoch: this one must take a higher one still, or step down.
    Outranked(u64),
}

/// The owner of a pool's state.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    picture: Picture,
    journal: Journal,
    assignments: Assignments,
    origins: Origins,
    foreign: BTreeMap<EndpointKey, Foreign>,
}

impl Pool {
    /// An owner that inherits nothing.
    pub fn new(epoch: u64, config: PoolConfig) -> Self {
        Self {
            config,
            picture: Picture::default(),
            journal: Journal::new(Version { epoch, seq: 0 }, config.journal),
            assignments: Assignments::default(),
            origins: Origins::default(),
            foreign: BTreeMap::new(),
        }
    }

    /// The state.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// The latest stretch of its history.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The latest stretch of its history, to pin and unpin.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The state at its present version, to be sent.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::cut(&self.picture, self.journal.head(), self.config.format)
    }

    /// Goes on under a later epoch.
    pub fn turn(&mut self, epoch: u64) {
        self.journal.turn(epoch);
    }

    /// Takes one input at `now_ms` of the owner's clock.
    pub fn fold(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        let before = self.journal.head();
        let mut effects = match input {
            Input::Spec(spec) => self.fold_spec(now_ms, spec),
            Input::CollectorJoined(stream, name) => {
                let changed = self.assignments.join(now_ms, stream, &name);
                self.assign(changed)
            }
            Input::CollectorLeft(stream) => {
                let changed = self.assignments.leave(stream);
                self.assign(changed)
            }
            Input::Reports(stream, reports) => {
                self.assignments.heard(now_ms, stream);
                reports.into_iter().for_each(|report| self.fold_report(now_ms, stream, report));
                Vec::new()
            }
            Input::Feedback(feedback) => self.fold_feedback(now_ms, feedback),
            Input::EpochHeard(epoch) => self.outranked(epoch),
            Input::Tick => self.fold_tick(now_ms),
        };
        let head = self.journal.head();
        if head != before {
            effects.push(Effect::Published(head));
        }
        effects
    }

    /// Mints the next version for `change` and makes it.
    fn commit(&mut self, change: Change) {
        let change = Arc::new(change);
        let version = self.journal.push(Arc::clone(&change));
        self.picture
            .apply(version.seq, &change)
            .expect("the owner mints only changes that fit its own state");
    }

    fn assign(&self, changed: Vec<CollectorStream>) -> Vec<Effect> {
        changed.into_iter().map(|stream| Effect::Assign(stream, self.assignments.of(stream))).collect()
    }

    fn outranked(&self, epoch: u64) -> Vec<Effect> {
        if epoch > self.journal.head().epoch { vec![Effect::Outranked(epoch)] } else { Vec::new() }
    }

    fn fold_spec(&mut self, now_ms: u64, spec: PoolSpec) -> Vec<Effect> {
        let wanted: BTreeMap<EndpointKey, Arc<EndpointSpec>> =
            spec.endpoints.into_iter().map(|spec| (spec.key(), Arc::new(spec))).collect();
        let moved_or_gone = |member: &&Arc<Member>| {
            wanted.get(&member.key).is_none_or(|spec| spec.address != member.spec.address)
        };
        let removed: Vec<_> = self.picture.members().filter(moved_or_gone).map(|member| member.key).collect();
        for endpoint in removed {
            self.foreign.remove(&endpoint);
            self.commit(Change::EndpointRemoved { endpoint });
        }
        for (endpoint, spec) in &wanted {
            let before = self.picture.member(*endpoint).cloned();
            if before.as_ref().is_none_or(|member| member.spec != *spec) {
                self.commit(Change::EndpointSet { spec: Arc::clone(spec) });
            }
            if before.is_none() {
                let observed = Observed { reach_since_ms: now_ms, ..Observed::default() };
                self.commit(Change::Observed { endpoint: *endpoint, observed });
            }
        }
        let changed = self.assignments.set_endpoints(wanted);
        self.assign(changed)
    }

    fn fold_report(&mut self, now_ms: u64, stream: CollectorStream, report: Report) {
        let Report { endpoint, generation, age_ms, update } = report;
        let Some(member) = self.picture.member(endpoint) else { return };
        if !self.assignments.is_current(stream, endpoint, generation) {
            return;
        }
        let before = member.observed.clone();
        let booked = member.load().requests;
        let seen_before = member.adapters.clone();
        let Update { incarnation, reach, gauges, capacity, adapters } = update;
        // A collector that has not read the endpoint yet knows nothing of its life.
        let incarnation =
            if incarnation == Incarnation::default() { before.incarnation } else { incarnation };
        let recent = self.foreign.entry(endpoint).or_default();
        if is_rebirth(before.incarnation, incarnation) {
            *recent = Foreign::default();
        }
        let gauges = gauges.unwrap_or(before.gauges);
        let foreign = if reach == Reach::Fresh { recent.sample(gauges, booked) } else { before.foreign };
        let since_ms =
            if reach == before.reach { before.reach_since_ms } else { now_ms.saturating_sub(age_ms) };
        let observed = Observed {
            incarnation,
            reach,
            reach_since_ms: since_ms,
            gauges,
            foreign,
            capacity: capacity.or(before.capacity),
        };
        if observed != before {
            self.commit(Change::Observed { endpoint, observed });
        }
        if let Some(adapters) = adapters.filter(|adapters| Some(adapters) != seen_before.as_ref()) {
            self.commit(Change::AdaptersSeen { endpoint, adapters });
        }
        self.make_room(endpoint);
    }

    fn fold_tick(&mut self, now_ms: u64) -> Vec<Effect> {
        for origin in self.origins.expire(now_ms, self.config.origin_ttl_ms) {
            self.commit(Change::OriginExpired { origin });
        }
        let members: Vec<_> = self.picture.members().cloned().collect();
        for member in members {
            if let Some(observed) = self.aged(now_ms, &member) {
                self.commit(Change::Observed { endpoint: member.key, observed });
            }
        }
        Vec::new()
    }

    /// What becomes of an endpoint's values when time passes without a report: they grow stale, or count once more.
    fn aged(&mut self, now_ms: u64, member: &Member) -> Option<Observed> {
        let before = &member.observed;
        let since_ms = now_ms.saturating_sub(before.reach_since_ms);
        match before.reach {
            Reach::Fresh => {}
            Reach::Unknown if since_ms >= self.config.stale_after_ms => {
                return Some(Observed { reach: Reach::Stale, reach_since_ms: now_ms, ..before.clone() });
            }
            Reach::Unknown | Reach::Stale | Reach::Down => return None,
        }
        if self.assignments.is_unread(now_ms, member.key, self.config.stale_after_ms) {
            let aged = Observed { reach: Reach::Stale, reach_since_ms: now_ms, ..before.clone() };
            return Some(aged);
        }
        let recent = self.foreign.entry(member.key).or_default();
        if !recent.is_due() {
            return None;
        }
        let foreign = recent.sample(before.gauges, member.load().requests);
        recent.is_due(); // this sample stands for the tick itself
        (foreign != before.foreign).then(|| Observed { foreign, ..before.clone() })
    }

    fn fold_feedback(&mut self, now_ms: u64, feedback: Feedback) -> Vec<Effect> {
        let Feedback { epoch, origin, seq, scope, gauges, placements } = feedback;
        let mut effects = self.outranked(epoch);
        let Some(heard) = self.origins.hear(now_ms, origin) else {
            effects.push(Effect::Expired(origin));
            return effects;
        };
        let is_news = heard.is_news(seq);
        // What was asked for before a whole batch and is not in it will not come.
        let overdue = if is_news && scope == Scope::Whole { heard.asked() } else { BTreeSet::new() };
        if is_news {
            self.fold_gauges(origin, scope, &gauges);
        }
        effects.extend(placements.into_iter().filter_map(|placement| self.fold_placement(origin, placement)));
        self.acknowledge(origin, &overdue);
        effects
    }

    fn acknowledge(&mut self, origin: Origin, overdue: &BTreeSet<u64>) {
        let Some(heard) = self.origins.heard(origin) else { return };
        heard.give_up(overdue);
        let number = heard.acknowledged();
        if number > self.picture.acknowledged(origin) {
            self.commit(Change::Acknowledged { origin, number });
        }
    }

    fn fold_gauges(&mut self, origin: Origin, scope: Scope, gauges: &[(EndpointKey, Load)]) {
        let mut wanted: BTreeMap<EndpointKey, Load> = gauges.iter().copied().collect();
        if scope == Scope::Whole {
            let held = self.picture.members().filter(|member| member.load_of(origin) != Load::ZERO);
            held.for_each(|member| {
                wanted.entry(member.key).or_insert(Load::ZERO);
            });
        }
        for (endpoint, load) in wanted {
            if self.picture.member(endpoint).is_some_and(|member| member.load_of(origin) != load) {
                self.commit(Change::Loaded { endpoint, origin, load });
            }
        }
    }

    fn fold_placement(&mut self, origin: Origin, placement: Placement) -> Option<Effect> {
        let Placement { number, endpoint, incarnation, anchor, suffix } = placement;
        let heard = self.origins.heard(origin)?;
        if !heard.is_open(number) {
            return None;
        }
        let is_current =
            self.picture.member(endpoint).is_some_and(|member| member.observed.incarnation == incarnation);
        let index = self.picture.residents().index();
        let known = suffix.partition_point(|block| index.contains(*block));
        let anchor = known.checked_sub(1).map_or(anchor, |last| suffix[last]);
        let suffix = &suffix[known..];
        let is_anchored = anchor == BlockHash::ROOT || index.contains(anchor);
        if is_current && !is_anchored {
            return heard.ask(number).then_some(Effect::NeedChain(origin, number));
        }
        heard.close(number);
        // A chain that leads from unknown blocks to known ones is none: whoever holds a block holds all before it.
        let is_chain = !suffix.iter().any(|block| index.contains(*block));
        if is_current && is_chain && (anchor != BlockHash::ROOT || !suffix.is_empty()) {
            let suffix = suffix.into();
            self.commit(Change::Placed { endpoint, anchor, suffix });
            self.make_room(endpoint);
        }
        None
    }

    /// Evicts what has not been used for the longest time until the endpoint's blocks fit its KV cache.
    fn make_room(&mut self, endpoint: EndpointKey) {
        let Some(member) = self.picture.member(endpoint) else { return };
        let kv_tokens =
            member.observed.capacity.map_or(self.config.assumed_kv_tokens, |capacity| capacity.kv_tokens);
        let block_bytes = u64::from(self.config.format.block_bytes.max(1));
        let room = (kv_tokens.saturating_mul(BYTES_PER_TOKEN) / block_bytes) as usize;
        loop {
            let surplus = self.picture.residents().held(endpoint).saturating_sub(room);
            let Some((leaf, blocks)) =
                (surplus > 0).then(|| self.picture.residents().oldest(endpoint, surplus)).flatten()
            else {
                return;
            };
            self.commit(Change::Evicted { endpoint, leaf, blocks });
        }
    }
}

/// Without a tokenizer a token counts as so many bytes of prompt.
const BYTES_PER_TOKEN: u64 = 4;
