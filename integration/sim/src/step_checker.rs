//! Checks the invariants that hold after every input of every process.

mod attempts;
mod draining;
mod feedback_sources;
mod grants;
mod outranked;
mod placements;
mod probes;
pub(crate) mod revocations;
mod snapshots;
pub(crate) mod waits;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use signalbox_flow::{FlowKey, PeerBacklog, PeerRevocable, RevocableClass};
use signalbox_state::{
    AssignedEndpoint, CatchUp, Change, Circuit, Digest, Follower, Frame, Gap, PlacedPrompt, PoolRole,
    PoolState, RoleStatus,
};
use signalbox_types::{EndpointKey, Generation, Load, Origin, Version};

use self::attempts::Attempts;
use self::draining::Loads;
use self::feedback_sources::FeedbackSources;
use self::placements::Retention;
use self::probes::Probes;
use self::revocations::Revocations;
use self::snapshots::SentSnapshots;
use self::waits::Waits;
use crate::counters::{Counter, Counters};
use crate::invariants::{Invariant, Violation};
use crate::plan::{AMPLE_KV_TOKENS, Mode, Node, Plan};

/// More requests than this at one endpoint mean that a gauge fell below zero.
const MAX_PLAUSIBLE_REQUESTS: u32 = 1 << 20;

/// A process and the number of its run.
pub(crate) type ProcessId = (Node, u32);

/// What one owner has received from origins and changed about them.
#[derive(Debug, Default)]
struct OwnerRecord {
    acknowledged: BTreeMap<Origin, u64>,
    expired: BTreeSet<Origin>,
    /// The placements that the owner received, by origin and number.
    received: BTreeMap<(Origin, u64), Retention>,
    loads: Loads,
    /// When the owner learned of a probe at each endpoint, in microseconds, unless it knows the outcome.
    probed_us: BTreeMap<EndpointKey, u64>,
    circuits: BTreeMap<EndpointKey, Circuit>,
    /// What waits of each flow at each origin, as the owner's changes say.
    backlogs: BTreeMap<(Origin, FlowKey), PeerBacklog>,
    /// What can be revoked of each class at each origin, as the owner's changes say.
    revocable: BTreeMap<(Origin, RevocableClass), PeerRevocable>,
}

/// Observes all processes and keeps the first violation.
#[derive(Debug)]
pub(crate) struct StepChecker {
    pub(crate) now_us: u64,
    /// The first violation.
    pub(crate) violation: Option<Violation>,
    /// Whether acknowledged placements must be in the state: only when messages arrive in order and nothing
    /// is evicted.
    checks_placements: bool,
    /// The owner of each epoch.
    owner_by_epoch: BTreeMap<u64, ProcessId>,
    /// The first digest seen at each version, and the node that had it.
    states: HashMap<Version, (Digest, Node)>,
    /// The last version and epoch of each process.
    versions: BTreeMap<ProcessId, (Version, u64)>,
    owners: BTreeMap<ProcessId, OwnerRecord>,
    placements: BTreeMap<(Origin, u64), PlacedPrompt>,
    /// The owner and stream of each generation.
    generations: BTreeMap<(EndpointKey, Generation), (ProcessId, u64)>,
    renewed_origins: BTreeSet<Origin>,
    /// The highest epoch that the coordinator has granted, or that might be genuine.
    genuine_epoch: u64,
    /// The endpoints that each aggregator was last told of.
    specs: BTreeMap<ProcessId, BTreeSet<EndpointKey>>,
    /// The owners that know of a later one: their own epoch, and since when, in microseconds.
    outranked: BTreeMap<ProcessId, (u64, u64)>,
    lease_ttl_us: u64,
    sources: FeedbackSources,
    probes: Probes,
    snapshots: SentSnapshots,
    attempts: Attempts,
    waits: Waits,
    revocations: Revocations,
}

impl StepChecker {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            now_us: 0,
            violation: None,
            checks_placements: plan.mode == Mode::Streams && plan.kv_tokens == AMPLE_KV_TOKENS,
            owner_by_epoch: BTreeMap::new(),
            states: HashMap::new(),
            versions: BTreeMap::new(),
            owners: BTreeMap::new(),
            placements: BTreeMap::new(),
            generations: BTreeMap::new(),
            renewed_origins: BTreeSet::new(),
            genuine_epoch: 0,
            specs: BTreeMap::new(),
            outranked: BTreeMap::new(),
            lease_ttl_us: plan.lease_ttl_ms * 1_000,
            sources: FeedbackSources::default(),
            probes: Probes::default(),
            snapshots: SentSnapshots::default(),
            attempts: Attempts::new(),
            waits: Waits::default(),
            revocations: Revocations::default(),
        }
    }

    /// Records an epoch that processes may know.
    pub(crate) fn record_genuine_epoch(&mut self, epoch: u64) {
        self.genuine_epoch = self.genuine_epoch.max(epoch);
    }

    /// Checks the highest epoch that a process knows.
    pub(crate) fn check_epoch(&mut self, process: ProcessId, epoch: u64) {
        let genuine = self.genuine_epoch;
        if epoch > genuine {
            self.fail(Invariant::EpochsAreGenuine, || {
                format!("{process:?} knows epoch {epoch}, but the highest one is {genuine}")
            });
        }
    }

    /// Records a violation, unless there is an earlier one.
    pub(crate) fn fail(&mut self, invariant: Invariant, observed: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(|| Violation { invariant, observed: observed() });
    }

    /// Checks an aggregator after an input. `before` is the version of its pool before the input.
    pub(crate) fn check_aggregator(
        &mut self,
        counters: &mut Counters,
        process: ProcessId,
        role: &PoolRole,
        before: Option<Version>,
    ) {
        self.check_version(process, role.version(), role.epoch(), role.pool_state());
        let (RoleStatus::Owner(epoch), Some(pool)) = (role.status(), role.pool()) else {
            self.owners.remove(&process);
            return;
        };
        let owner = *self.owner_by_epoch.entry(epoch).or_insert(process);
        if owner != process {
            self.fail(Invariant::OneWriter, || format!("{process:?} and {owner:?} both own epoch {epoch}"));
        }
        let Some(mut at) = before.filter(|_| self.owners.contains_key(&process)) else { return };
        while let CatchUp::Frame(frame) = pool.journal().since(at) {
            at = frame.ends_at().unwrap_or(at);
            let Frame::Delta { changes, .. } = frame else { continue };
            changes.iter().for_each(|change| self.check_change(counters, process, pool.pool_state(), change));
        }
        if role.version() != Some(at) {
            self.resume_grants(process, pool.pool_state());
        }
        self.check_draining_loads(process, pool, at);
    }

    /// Returns the process that owned the pool under `epoch`.
    pub(crate) fn owner_of(&self, epoch: u64) -> Option<ProcessId> {
        self.owner_by_epoch.get(&epoch).copied()
    }

    /// Checks a change that an owner created.
    fn check_change(
        &mut self,
        counters: &mut Counters,
        process: ProcessId,
        pool_state: &PoolState,
        change: &Change,
    ) {
        counters.increment(Counter::Change);
        if let Some(record) = self.owners.get_mut(&process) {
            record.loads.apply(change);
        }
        match change {
            Change::LoadChanged { origin, load, endpoint } => {
                if load.requests > MAX_PLAUSIBLE_REQUESTS || load.prefills > MAX_PLAUSIBLE_REQUESTS {
                    self.fail(Invariant::GaugesAreNotNegative, || {
                        format!("{load:?} of {origin} at {endpoint}")
                    });
                }
                self.check_origin_not_expired(process, *origin, *load);
            }
            Change::OriginExpired { origin } => {
                let Some(record) = self.owners.get_mut(&process) else { return };
                record.expired.insert(*origin);
                record.acknowledged.remove(origin);
                record.backlogs.retain(|(of, _), _| of != origin);
                record.revocable.retain(|(of, _), _| of != origin);
            }
            Change::Acknowledged { origin, number } => {
                self.check_acknowledgement(process, pool_state, *origin, *number);
            }
            Change::EndpointRemoved { endpoint } => {
                self.forget_circuit(process, *endpoint);
                self.check_removal(process, *endpoint);
                self.release_placements(process, *endpoint);
            }
            Change::Assessed { endpoint, assessment } => {
                self.check_circuit(counters, process, *endpoint, assessment.circuit);
            }
            Change::Flow(change) => self.check_flow_change(process, pool_state, change),
            Change::Evicted { .. } => counters.increment(Counter::Eviction),
            _ => {}
        }
    }

    fn check_origin_not_expired(&mut self, process: ProcessId, origin: Origin, load: Load) {
        if self.owners.get(&process).is_some_and(|record| record.expired.contains(&origin)) {
            self.fail(Invariant::ExpiredOriginsStayExpired, || {
                format!("{process:?} accepted {load:?} from {origin}")
            });
        }
    }

    /// Checks an aggregator that became the owner, or continues as the owner under a later epoch.
    pub(crate) fn check_takeover(&mut self, process: ProcessId, role: &PoolRole, pool_now_ms: u64) {
        let acknowledged = role.pool_state().acknowledgements().collect();
        let loads = Loads::of(role.pool_state());
        let circuits =
            role.pool_state().endpoints().map(|member| (member.key, member.assessment.circuit)).collect();
        let backlogs = grants::backlogs_of(role.pool_state());
        let revocable = revocations::revocable_of(role.pool_state());
        let record =
            OwnerRecord { acknowledged, loads, circuits, backlogs, revocable, ..OwnerRecord::default() };
        self.owners.entry(process).or_insert(record);
        let latest_ms =
            role.pool_state().endpoints().map(|member| member.observed.scrape_status_since_ms).max();
        if let Some(latest_ms) = latest_ms.filter(|latest_ms| *latest_ms > pool_now_ms) {
            self.fail(Invariant::ClockContinues, || {
                format!(
                    "{process:?} continues at {pool_now_ms} ms, but its state has the time {latest_ms} ms"
                )
            });
        }
    }

    /// Checks how many replicas a new owner asks for at first, after an earlier one has asked for `stored`.
    pub(crate) fn check_signal(&mut self, process: ProcessId, stored: u32, now: u32) {
        if now < stored {
            self.fail(Invariant::SignalDoesNotDip, || {
                format!("{process:?} begins with {now} replicas, but {stored} were asked for")
            });
        }
    }

    /// Checks a replica after an input.
    pub(crate) fn check_replica(&mut self, process: ProcessId, follower: &Follower) {
        let (version, epoch) = (follower.replica().cursor(), follower.epoch());
        self.check_version(process, version, epoch, follower.replica().state_replica().pool_state());
    }

    fn check_version(
        &mut self,
        process: ProcessId,
        version: Option<Version>,
        epoch: u64,
        pool_state: &PoolState,
    ) {
        self.check_epoch(process, epoch);
        let Some(version) = version else { return };
        let (before, known) = self.versions.insert(process, (version, epoch)).unwrap_or_default();
        if version < before {
            self.fail(Invariant::VersionsGrow, || format!("{process:?} from {before} to {version}"));
        }
        if epoch < known {
            self.fail(Invariant::EpochsGrow, || format!("{process:?} from {known} to {epoch}"));
        }
        let digest = pool_state.digest();
        let (known, by) = *self.states.entry(version).or_insert((digest, process.0));
        if known != digest {
            let differing = known.differing(&digest).join(", ");
            self.fail(Invariant::OneState, || {
                format!("{process:?} and {by} differ at {version} in {differing}")
            });
        }
    }

    /// Checks a frame that a follower could not apply: frames may be missing, but never wrong.
    pub(crate) fn check_gap(&mut self, counters: &mut Counters, node: Node, gap: &Gap) {
        counters.increment(Counter::FrameGap);
        if matches!(gap, Gap::Change(_) | Gap::Digest(_)) {
            self.fail(Invariant::NoDivergence, || format!("at {node}: {gap}"));
        }
    }

    /// Checks that each generation is assigned to one stream by one owner.
    pub(crate) fn check_assignment(
        &mut self,
        counters: &mut Counters,
        process: ProcessId,
        stream: u64,
        assigned: &[AssignedEndpoint],
    ) {
        counters.increment(Counter::Assignment);
        for AssignedEndpoint { endpoint, generation, .. } in assigned {
            let first = *self.generations.entry((*endpoint, *generation)).or_insert((process, stream));
            if first != (process, stream) {
                self.fail(Invariant::GenerationsAreUnique, || {
                    format!(
                        "{generation:?} of {endpoint} was assigned by {first:?} and by {:?}",
                        (process, stream)
                    )
                });
            }
        }
    }
}
