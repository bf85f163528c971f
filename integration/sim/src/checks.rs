//! What is checked at each step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use signalbox_state::{
    AssignedEndpoint, CatchUp, Change, Digest, Feedback, Follower, Frame, Gap, PlacedPrompt, Placement,
    PoolRole, PoolState, RoleStatus,
};
use signalbox_types::{EndpointKey, Generation, Load, Origin, Version};

use crate::counters::{Counters, Happening};
use crate::invariants::{Invariant, Violation};
use crate::plan::{Mode, Node, PLENTY_OF_TOKENS, Plan};

/// More requests than this at one endpoint come of a gauge that fell below zero.
const SANE_REQUESTS: u32 = 1 << 20;

/// How long an owner waits for a chain that it has asked for.
const ASKED_FOR_US: u64 = 3_000_000;

/// A process, and which life of it.
pub(crate) type Who = (Node, u32);

/// Whether an owner has to keep a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// It was told at this moment. What it has to ask for and does not get in time it need not keep.
    SinceUs(u64),
    /// The endpoint was gone, or lived another life, when the owner was told or afterwards.
    NeedNot,
}

/// What an owner has said of origins.
#[derive(Debug, Default)]
struct Said {
    acknowledged: BTreeMap<Origin, u64>,
    expired: BTreeSet<Origin>,
    /// The placements that it was told of, and whether it has to keep them.
    told: BTreeMap<(Origin, u64), Keeping>,
}

/// Watches all processes.
#[derive(Debug)]
pub(crate) struct Checker {
    pub(crate) now_us: u64,
    /// The first that did not hold.
    pub(crate) violation: Option<Violation>,
    /// Whether an acknowledged placement must be found: messages of a stream come in order, and nothing is evicted.
    keeps_placements: bool,
    writers: BTreeMap<u64, Who>,
    states: HashMap<Version, (Digest, Node)>,
    held: BTreeMap<Who, (Version, u64)>,
    owners: BTreeMap<Who, Said>,
    placed: BTreeMap<(Origin, u64), PlacedPrompt>,
    generations: BTreeMap<(EndpointKey, Generation), (Who, u64)>,
    given_up: BTreeSet<Origin>,
}

impl Checker {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            now_us: 0,
            violation: None,
            keeps_placements: plan.mode == Mode::Streams && plan.kv_tokens == PLENTY_OF_TOKENS,
            writers: BTreeMap::new(),
            states: HashMap::new(),
            held: BTreeMap::new(),
            owners: BTreeMap::new(),
            placed: BTreeMap::new(),
            generations: BTreeMap::new(),
            given_up: BTreeSet::new(),
        }
    }

    pub(crate) fn fail(&mut self, invariant: Invariant, seen: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(|| Violation { invariant, seen: seen() });
    }

    /// An aggregator has taken an input; as owner it was at `before`.
    pub(crate) fn folded(
        &mut self,
        counters: &mut Counters,
        who: Who,
        role: &PoolRole,
        before: Option<Version>,
    ) {
        self.holds(who, role.version(), role.epoch(), role.pool_state());
        let (RoleStatus::Owner(epoch), Some(pool)) = (role.standing(), role.pool()) else {
            self.owners.remove(&who);
            return;
        };
        let writer = *self.writers.entry(epoch).or_insert(who);
        if writer != who {
            self.fail(Invariant::OneWriter, || format!("{who:?} and {writer:?} both own epoch {epoch}"));
        }
        let Some(mut at) = before.filter(|_| self.owners.contains_key(&who)) else { return };
        while let CatchUp::Frame(frame) = pool.journal().since(at) {
            at = frame.ends_at().unwrap_or(at);
            let Frame::Delta { changes, .. } = frame else { continue };
            changes.iter().for_each(|change| self.minted(counters, who, pool.pool_state(), change));
        }
    }

    fn minted(&mut self, counters: &mut Counters, who: Who, pool_state: &PoolState, change: &Change) {
        counters.count(Happening::Change);
        match change {
            Change::LoadChanged { origin, load, endpoint } => {
                if load.requests > SANE_REQUESTS || load.prefills > SANE_REQUESTS {
                    self.fail(Invariant::LoadsAreSane, || format!("{load:?} at {endpoint} by {origin}"));
                }
                self.takes_from(who, *origin, *load);
            }
            Change::OriginExpired { origin } => {
                let Some(said) = self.owners.get_mut(&who) else { return };
                said.expired.insert(*origin);
                said.acknowledged.remove(origin);
            }
            Change::Acknowledged { origin, number } => self.acknowledged(who, pool_state, *origin, *number),
            Change::EndpointRemoved { endpoint } => self.removed(who, *endpoint),
            Change::Evicted { .. } => counters.count(Happening::Eviction),
            _ => {}
        }
    }

    fn takes_from(&mut self, who: Who, origin: Origin, load: Load) {
        if self.owners.get(&who).is_some_and(|said| said.expired.contains(&origin)) {
            self.fail(Invariant::ExpiredStaysExpired, || format!("{who:?} took {load:?} of {origin}"));
        }
    }

    fn acknowledged(&mut self, who: Who, pool_state: &PoolState, origin: Origin, number: u64) {
        let Some(said) = self.owners.get_mut(&who) else { return };
        let before = said.acknowledged.insert(origin, number).unwrap_or(0);
        let is_expired = said.expired.contains(&origin);
        if is_expired {
            self.fail(Invariant::ExpiredStaysExpired, || format!("{who:?} acknowledged {origin}'s {number}"));
            return;
        }
        if number < before {
            self.fail(Invariant::AcknowledgementsGrow, || format!("{origin} from {before} to {number}"));
            return;
        }
        // Those that it was not told of were acknowledged by an owner before.
        let told = self.owners[&who].told.range((origin, before + 1)..=(origin, number));
        let must_keep = |keeping: &Keeping| match keeping {
            Keeping::SinceUs(told_at_us) => self.now_us - told_at_us < ASKED_FOR_US,
            Keeping::NeedNot => false,
        };
        let kept = told.filter(|(_, keeping)| must_keep(keeping));
        let mut placed = kept.filter_map(|(of, _)| Some((*of, self.placed.get(of)?)));
        let missing = placed.find(|(_, placed)| !is_held(pool_state, placed));
        if let Some(((_, number), PlacedPrompt { endpoint, chain, known, .. })) = missing {
            let seen = format!(
                "{origin}'s {number}, {} blocks at {endpoint} of which {known} were known, is acknowledged by {who:?} and not held",
                chain.len()
            );
            self.fail(Invariant::AcknowledgedIsFolded, || seen);
        }
    }

    /// An owner that holds `picture` is told of placements.
    pub(crate) fn told(&mut self, who: Who, pool_state: &PoolState, feedback: &Feedback) {
        let Some(said) = self.owners.get_mut(&who).filter(|_| self.keeps_placements) else { return };
        for Placement { number, endpoint, incarnation, .. } in &feedback.placements {
            let member = pool_state.member(*endpoint);
            let keeping =
                said.told.entry((feedback.origin, *number)).or_insert(Keeping::SinceUs(self.now_us));
            if member.is_none_or(|member| member.observed.incarnation != *incarnation) {
                *keeping = Keeping::NeedNot;
            }
        }
    }

    /// With an endpoint goes what was placed there, even if it comes back.
    fn removed(&mut self, who: Who, endpoint: EndpointKey) {
        let Some(said) = self.owners.get_mut(&who) else { return };
        for (of, keeping) in &mut said.told {
            if self.placed.get(of).is_some_and(|placed| placed.endpoint == endpoint) {
                *keeping = Keeping::NeedNot;
            }
        }
    }

    /// A replica has sent this placement under a number for the first time.
    pub(crate) fn placed(&mut self, origin: Origin, number: u64, placed: PlacedPrompt) {
        self.placed.entry((origin, number)).or_insert(placed);
    }

    /// An aggregator has become the owner, or goes on as such under a later epoch.
    pub(crate) fn took_over(&mut self, who: Who, role: &PoolRole, pool_now_ms: u64) {
        let acknowledged = role.pool_state().acknowledgements().collect();
        self.owners.entry(who).or_insert(Said { acknowledged, ..Said::default() });
        let latest_ms =
            role.pool_state().endpoints().map(|member| member.observed.scrape_status_since_ms).max();
        if let Some(latest_ms) = latest_ms.filter(|latest_ms| *latest_ms > pool_now_ms) {
            self.fail(Invariant::ClockGoesOn, || {
                format!("{who:?} goes on at {pool_now_ms} ms, and holds what is dated {latest_ms} ms")
            });
        }
    }

    /// A replica has taken an input.
    pub(crate) fn follows(&mut self, who: Who, following: &Follower) {
        let (version, epoch) = (following.follower().cursor(), following.epoch());
        self.holds(who, version, epoch, following.follower().replica().pool_state());
    }

    fn holds(&mut self, who: Who, version: Option<Version>, epoch: u64, pool_state: &PoolState) {
        let Some(version) = version else { return };
        let (before, known) = self.held.insert(who, (version, epoch)).unwrap_or_default();
        if version < before {
            self.fail(Invariant::VersionsGrow, || format!("{who:?} from {before} to {version}"));
        }
        if epoch < known {
            self.fail(Invariant::EpochsGrow, || format!("{who:?} knew {known} and knows {epoch}"));
        }
        let digest = pool_state.digest();
        let (known, by) = *self.states.entry(version).or_insert((digest, who.0));
        if known != digest {
            let differing = known.differing(&digest).join(", ");
            self.fail(Invariant::OneState, || format!("{who:?} and {by} at {version} differ in {differing}"));
        }
    }

    /// A replica has taken a new origin, because this one was given up.
    pub(crate) fn restarted(&mut self, origin: Origin) {
        if !self.given_up.insert(origin) {
            self.fail(Invariant::OneRebirth, || format!("{origin} was given up twice"));
        }
    }

    /// A frame could not be taken.
    pub(crate) fn missed(&mut self, counters: &mut Counters, node: Node, gap: &Gap) {
        counters.count(Happening::Gap);
        if matches!(gap, Gap::Change(_) | Gap::Digest(_)) {
            self.fail(Invariant::NothingDiverges, || format!("at {node}: {gap}"));
        }
    }

    /// A collector's stream was told what to read.
    pub(crate) fn assigned(
        &mut self,
        counters: &mut Counters,
        who: Who,
        stream: u64,
        assigned: &[AssignedEndpoint],
    ) {
        counters.count(Happening::Assignment);
        for AssignedEndpoint { endpoint, generation, .. } in assigned {
            let before = *self.generations.entry((*endpoint, *generation)).or_insert((who, stream));
            if before != (who, stream) {
                self.fail(Invariant::GenerationsAreUnique, || {
                    format!(
                        "{endpoint} under {generation:?} was assigned by {before:?} and {:?}",
                        (who, stream)
                    )
                });
            }
        }
    }
}

/// Whether a placement is in the state, or need not be: it was for another life of its endpoint.
fn is_held(pool_state: &PoolState, placed: &PlacedPrompt) -> bool {
    let Some(member) = pool_state.member(placed.endpoint) else { return true };
    if member.observed.incarnation != placed.incarnation {
        return true;
    }
    let held = pool_state.residents().index().lookup(&placed.chain).held;
    held.iter().any(|of| of.endpoint == placed.endpoint && of.blocks == placed.chain.len())
}
