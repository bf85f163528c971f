//! The owner's side of a pool: the only place that accepts reports and feedback and creates changes.

mod adapter_usage;
mod assigning;
mod assignments;
mod assumed_speed;
mod cache_beliefs;
mod circuit_breaker;
mod config;
mod decode_estimator;
mod drain_meter;
mod effect;
mod endpoint_assessment;
mod endpoint_assessor;
mod endpoint_uses;
mod eviction;
mod feedback_handling;
mod flow_reports;
mod granting;
mod handover;
mod incarnations;
mod input;
mod model_circuits;
mod origins;
mod pool_rates;
mod prefill_estimator;
mod probers;
mod rate_estimator;
mod report_handling;
mod response_ages;
mod revoking;
mod rounds;
mod signalling;
mod snapshots;
mod spec_handling;
mod tick;
mod token_ratios;
mod unbooked_load;
mod usage_handling;

use std::collections::BTreeSet;
use std::sync::Arc;

use signalbox_prefix::EndpointMap;

use self::assignments::Assignments;
pub use self::assignments::{AssignedEndpoint, CollectorStream};
use self::assumed_speed::Corrections;
use self::cache_beliefs::CacheBeliefs;
pub use self::config::{InputLimits, PoolConfig};
pub use self::effect::{CountedEvent, PoolEffect};
use self::endpoint_assessor::EndpointAssessor;
use self::eviction::RoomCheck;
pub use self::feedback_handling::FeedbackRest;
use self::granting::Granting;
pub use self::input::PoolInput;
use self::origins::Origins;
use self::pool_rates::PoolRates;
use self::response_ages::ResponseAges;
use self::rounds::Rounds;
use self::signalling::Signalling;
use self::snapshots::LatestSnapshot;
use self::spec_handling::PendingSpec;
use self::token_ratios::TokenRatios;
use crate::pool_state::{Change, Diverged, PoolState};
use crate::replication::{Journal, JournalBounds, Snapshot, SnapshotEntry};

/// A pool at its owner: the state, its history, and what the owner needs to derive changes.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    pool_state: PoolState,
    journal: Journal,
    assignments: Assignments,
    /// The streams of the collectors that were not told their assignments yet.
    untold: BTreeSet<CollectorStream>,
    origins: Origins,
    /// One assessor per endpoint.
    assessors: EndpointMap<EndpointAssessor>,
    /// What the endpoints showed of their speed at the last tick.
    rates: PoolRates,
    /// Every LoRA adapter that an endpoint has reported.
    adapters: BTreeSet<Arc<str>>,
    /// What was learned of the models' tokens.
    token_ratios: TokenRatios,
    /// When the stored responses became known.
    response_ages: ResponseAges,
    /// How the endpoints' caches differ from what they are believed to hold.
    cache_beliefs: CacheBeliefs,
    /// Which endpoints to consider after a tick.
    rounds: Rounds,
    room_check: RoomCheck,
    /// When requests that wait were granted last, and are next.
    granting: Granting,
    corrections: Corrections,
    signalling: Signalling,
    /// The specification that is being applied, if it is not yet applied completely.
    pending_spec: Option<PendingSpec>,
    snapshot: LatestSnapshot,
    /// The parts of snapshots that nobody needs any more.
    discarded: Vec<Arc<SnapshotEntry>>,
    /// For how long the oldest message waits that is not handled yet, in milliseconds.
    waiting_ms: u64,
}

impl Pool {
    /// Creates a pool without state or history.
    pub fn new(epoch: u64, config: PoolConfig) -> Self {
        Self {
            config,
            pool_state: PoolState::default(),
            journal: Self::fresh_journal(epoch, &config),
            assignments: Assignments::new(epoch),
            untold: BTreeSet::new(),
            origins: Origins::default(),
            assessors: EndpointMap::default(),
            rates: PoolRates::default(),
            adapters: BTreeSet::new(),
            token_ratios: TokenRatios::default(),
            response_ages: ResponseAges::default(),
            cache_beliefs: CacheBeliefs::default(),
            rounds: Rounds::default(),
            room_check: RoomCheck::default(),
            granting: Granting::default(),
            corrections: Corrections::default(),
            signalling: Signalling::new(&config),
            pending_spec: None,
            snapshot: LatestSnapshot::default(),
            discarded: Vec::new(),
            waiting_ms: 0,
        }
    }

    /// Returns the pool state.
    pub fn pool_state(&self) -> &PoolState {
        &self.pool_state
    }

    /// Returns the latest part of the history.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns the latest part of the history, to pin and unpin.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Changes how much history is kept.
    pub(crate) fn set_history(&mut self, now_ms: u64, bounds: JournalBounds) {
        self.config.journal = bounds;
        self.journal.set_bounds(now_ms, bounds);
    }

    /// Returns a snapshot of the state at the current version, captured at once.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::capture(&self.pool_state, self.journal.head(), self.config.format)
    }

    /// Continues the history under a later epoch.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.journal.begin_epoch(epoch);
    }

    /// Handles one input at `now_ms` of the owner's clock and returns what must be done.
    pub fn handle(&mut self, now_ms: u64, input: PoolInput) -> Vec<PoolEffect> {
        let before = self.journal.head();
        self.pool_state.loads_mut().record_time(now_ms);
        let mut effects = match input {
            PoolInput::Spec(spec) => self.handle_spec(now_ms, spec),
            PoolInput::CollectorJoined(stream, name) => {
                let replaced =
                    self.assignments.remove_collector(&name).into_iter().map(PoolEffect::CloseCollector);
                let changed = self.assignments.join(now_ms, stream, &name);
                replaced.chain(self.assign(changed)).collect()
            }
            PoolInput::CollectorLeft(stream) => {
                let changed = self.assignments.leave(stream);
                self.assign(changed)
            }
            PoolInput::Reports(stream, reports) => {
                self.assignments.record_message(now_ms, stream);
                reports.into_iter().filter_map(|report| self.handle_report(now_ms, stream, report)).collect()
            }
            PoolInput::Feedback(feedback) => self.handle_feedback(now_ms, feedback),
            PoolInput::FeedbackRest(rest) => self.continue_feedback(now_ms, rest),
            PoolInput::Tick => self.handle_tick(now_ms),
            PoolInput::StoredSignal(signal) => self.handle_stored_signal(signal.as_deref()),
            PoolInput::GrantDue => self.granting.wake(now_ms),
            PoolInput::Continue => self.handle_continue(now_ms),
        };
        effects.extend(self.grant_when_due(now_ms));
        effects.extend(self.signal_when_due(now_ms));
        self.journal.publish(now_ms, self.pool_state.digest());
        let head = self.journal.head();
        if head != before {
            effects.push(PoolEffect::Published(head));
        }
        effects
    }

    /// Applies `change` and appends it to the history.
    fn commit(&mut self, change: Change) {
        self.try_commit(change).expect("the owner commits only changes that match its own state");
    }

    /// Like [`Self::commit`], for a change that may not match the state; then nothing happens.
    fn try_commit(&mut self, change: Change) -> Result<(), Diverged> {
        self.pool_state.apply(self.journal.head().seq + 1, &change)?;
        self.journal.push(change);
        Ok(())
    }
}
