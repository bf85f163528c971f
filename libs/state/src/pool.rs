//! The owner of a pool's state: the only place that accepts facts and mints versions.

mod assess;
mod feedback;
mod inherit;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signalbox_types::{EndpointKey, EndpointSpec, Format, Origin, PoolSpec, Version};

use crate::assignments::{AssignedEndpoint, Assignments, CollectorStream};
use crate::change::{Change, Observed};
use crate::endpoint_assessor::EndpointAssessor;
use crate::endpoint_observer::Report;
use crate::feedback::Feedback;
use crate::frame::Snapshot;
use crate::journal::{Journal, JournalBounds};
use crate::origins::Origins;
use crate::pool_state::{Diverged, EndpointState, PoolState};

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
    /// How much memory the placements of all endpoints may take in each process, roughly.
    pub index_bytes: usize,
    /// After so long without a word of it a collector is taken to be gone.
    pub collector_ttl_ms: u64,
    /// How much history is kept.
    pub journal: JournalBounds,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            format: Format::default(),
            stale_after_ms: 2_000,
            origin_ttl_ms: 3_000,
            assumed_kv_tokens: 500_000,
            index_bytes: 1 << 30,
            collector_ttl_ms: 2_000,
            journal: JournalBounds::default(),
        }
    }
}

/// What an owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolInput {
    /// The pool has these endpoints, and says this of models.
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
pub enum PoolEffect {
    /// There are changes up to this version for the followers.
    Published(Version),
    /// Tell a collector all that it shall read.
    Assign(CollectorStream, Vec<AssignedEndpoint>),
    /// Close a collector's connection: nothing has come on it for too long, or the collector has another one.
    Dropped(CollectorStream),
    /// FollowerPoll a replica for the whole chain of one of its placements.
    NeedChain(Origin, u64),
    /// Tell a replica that it was given up.
    Expired(Origin),
    /// Another owner has a higher epoch: this one must take a higher one still, or step down.
    Outranked(u64),
    /// Nothing; it is to be counted.
    Count(CountedEvent),
}

/// What should be seldom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedEvent {
    /// A replica was not heard for the TTL, and its bookings are gone.
    OriginExpired(Origin),
    /// So many placements were dropped because their whole chains were asked for in vain.
    ChainsGivenUp(usize),
    /// A collector reported an endpoint that it is not to read any more.
    ReportOutdated(CollectorStream),
}

/// The owner of a pool's state.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    pool_state: PoolState,
    journal: Journal,
    assignments: Assignments,
    origins: Origins,
    /// One for each endpoint.
    records: BTreeMap<EndpointKey, EndpointAssessor>,
    /// Every LoRA adapter that an endpoint has told of.
    adapters: BTreeSet<Arc<str>>,
}

impl Pool {
    /// An owner that inherits nothing.
    pub fn new(epoch: u64, config: PoolConfig) -> Self {
        Self {
            config,
            pool_state: PoolState::default(),
            journal: Self::fresh_journal(epoch, &config),
            assignments: Assignments::under(epoch),
            origins: Origins::default(),
            records: BTreeMap::new(),
            adapters: BTreeSet::new(),
        }
    }

    /// The state.
    pub fn pool_state(&self) -> &PoolState {
        &self.pool_state
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
        Snapshot::cut(&self.pool_state, self.journal.head(), self.config.format)
    }

    /// Goes on under a later epoch.
    pub fn turn(&mut self, epoch: u64) {
        self.journal.turn(epoch);
    }

    /// Takes one input at `now_ms` of the owner's clock.
    pub fn fold(&mut self, now_ms: u64, input: PoolInput) -> Vec<PoolEffect> {
        let before = self.journal.head();
        let mut effects = match input {
            PoolInput::Spec(spec) => self.fold_spec(now_ms, spec),
            PoolInput::CollectorJoined(stream, name) => {
                let void = self.assignments.replace(&name).into_iter().map(PoolEffect::Dropped);
                let changed = self.assignments.join(now_ms, stream, &name);
                void.chain(self.assign(changed)).collect()
            }
            PoolInput::CollectorLeft(stream) => {
                let changed = self.assignments.leave(stream);
                self.assign(changed)
            }
            PoolInput::Reports(stream, reports) => {
                self.assignments.heard(now_ms, stream);
                reports.into_iter().filter_map(|report| self.fold_report(now_ms, stream, report)).collect()
            }
            PoolInput::Feedback(feedback) => self.fold_feedback(now_ms, feedback),
            PoolInput::EpochHeard(epoch) => self.outranked(epoch),
            PoolInput::Tick => self.fold_tick(now_ms),
        };
        let head = self.journal.head();
        if head != before {
            effects.push(PoolEffect::Published(head));
        }
        effects
    }

    /// Makes `change` and mints the next version for it.
    fn commit(&mut self, change: Change) {
        self.try_commit(change).expect("the owner mints only changes that fit its own state");
    }

    /// As [`Self::commit`], for a change that may turn out not to fit; then nothing has happened.
    fn try_commit(&mut self, change: Change) -> Result<(), Diverged> {
        self.pool_state.apply(self.journal.head().seq + 1, &change)?;
        self.journal.push(Arc::new(change));
        Ok(())
    }

    fn assign(&self, changed: Vec<CollectorStream>) -> Vec<PoolEffect> {
        changed.into_iter().map(|stream| PoolEffect::Assign(stream, self.assignments.of(stream))).collect()
    }

    fn outranked(&self, epoch: u64) -> Vec<PoolEffect> {
        if epoch > self.journal.head().epoch { vec![PoolEffect::Outranked(epoch)] } else { Vec::new() }
    }

    fn fold_spec(&mut self, now_ms: u64, spec: PoolSpec) -> Vec<PoolEffect> {
        let wanted: BTreeMap<EndpointKey, Arc<EndpointSpec>> =
            spec.endpoints.into_iter().map(|spec| (spec.key(), Arc::new(spec))).collect();
        let moved_or_gone = |member: &&Arc<EndpointState>| {
            wanted.get(&member.key).is_none_or(|spec| spec.address != member.spec.address)
        };
        let removed: Vec<_> =
            self.pool_state.endpoints().filter(moved_or_gone).map(|member| member.key).collect();
        for endpoint in removed {
            self.records.remove(&endpoint);
            self.commit(Change::EndpointRemoved { endpoint });
        }
        for (endpoint, spec) in &wanted {
            let before = self.pool_state.member(*endpoint).cloned();
            if before.as_ref().is_none_or(|member| member.spec != *spec) {
                self.commit(Change::EndpointSet { spec: Arc::clone(spec) });
            }
            if before.is_none() {
                let typical = self.typical_rates();
                self.records.insert(*endpoint, EndpointAssessor::new(typical));
                self.assess(now_ms, typical, *endpoint);
                let observed = Observed { scrape_status_since_ms: now_ms, ..Observed::default() };
                self.commit(Change::Observed { endpoint: *endpoint, observed });
            }
        }
        if *self.pool_state.models() != spec.models {
            self.commit(Change::ModelsSet { models: spec.models });
        }
        let changed = self.assignments.set_endpoints(wanted);
        self.assign(changed)
    }
}

/// Without a tokenizer a token counts as so many bytes of prompt.
const BYTES_PER_TOKEN: u64 = 4;
