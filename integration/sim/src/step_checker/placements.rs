//! Checks that placements that an owner acknowledges are in its state.

use signalbox_state::{Feedback, PlacedPrompt, Placement, PoolState};
use signalbox_types::{EndpointKey, Origin};

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How long an owner waits for a chain that it requested, in microseconds.
const CHAIN_REQUEST_TIMEOUT_US: u64 = 3_000_000;

/// Whether an owner must keep a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retention {
    /// The owner received the placement at this time and must keep it, unless it had to request the chain and
    /// did not get it in time.
    RequiredSinceUs(u64),
    /// The endpoint was gone, or was another incarnation, when the owner received the placement or later.
    NotRequired,
}

impl StepChecker {
    pub(super) fn check_acknowledgement(
        &mut self,
        process: ProcessId,
        pool_state: &PoolState,
        origin: Origin,
        number: u64,
    ) {
        let Some(record) = self.owners.get_mut(&process) else { return };
        let before = record.acknowledged.insert(origin, number).unwrap_or(0);
        let is_expired = record.expired.contains(&origin);
        if is_expired {
            self.fail(Invariant::ExpiredOriginsStayExpired, || {
                format!("{process:?} acknowledged number {number} of {origin}")
            });
            return;
        }
        if number < before {
            self.fail(Invariant::AcknowledgementsGrow, || format!("{origin} from {before} to {number}"));
            return;
        }
        // Numbers that this owner has not received were acknowledged by an earlier owner.
        let received = self.owners[&process].received.range((origin, before + 1)..=(origin, number));
        let is_required = |retention: &Retention| match retention {
            Retention::RequiredSinceUs(since_us) => self.now_us - since_us < CHAIN_REQUEST_TIMEOUT_US,
            Retention::NotRequired => false,
        };
        let required = received.filter(|(_, retention)| is_required(retention));
        let mut placements = required.filter_map(|(of, _)| Some((*of, self.placements.get(of)?)));
        let missing = placements.find(|(_, placed)| !is_held(pool_state, placed));
        if let Some(((_, number), PlacedPrompt { endpoint, chain, known, .. })) = missing {
            let observed = format!(
                "{process:?} acknowledged number {number} of {origin}, but its {} blocks at {endpoint} ({known} of them known before) are not in the state",
                chain.len()
            );
            self.fail(Invariant::AcknowledgedIsApplied, || observed);
        }
    }

    /// Stops to require that acknowledged placements are in the state, because they may be evicted.
    pub(crate) fn allow_evictions(&mut self) {
        self.checks_placements = false;
        self.owners.values_mut().for_each(|record| record.received.clear());
    }

    /// Records the placements and probes that an owner with this state receives.
    pub(crate) fn record_feedback(
        &mut self,
        process: ProcessId,
        pool_state: &PoolState,
        feedback: &Feedback,
    ) {
        self.record_known_probes(process, pool_state, feedback);
        let Some(record) = self.owners.get_mut(&process).filter(|_| self.checks_placements) else { return };
        for Placement { number, endpoint, incarnation, .. } in &feedback.placements {
            let member = pool_state.endpoint(*endpoint);
            let retention = record
                .received
                .entry((feedback.origin, *number))
                .or_insert(Retention::RequiredSinceUs(self.now_us));
            if member.is_none_or(|member| member.observed.incarnation != *incarnation) {
                *retention = Retention::NotRequired;
            }
        }
    }

    /// Releases the placements at a removed endpoint. They stay released if the endpoint returns.
    pub(super) fn release_placements(&mut self, process: ProcessId, endpoint: EndpointKey) {
        let Some(record) = self.owners.get_mut(&process) else { return };
        for (of, retention) in &mut record.received {
            if self.placements.get(of).is_some_and(|placed| placed.endpoint == endpoint) {
                *retention = Retention::NotRequired;
            }
        }
    }

    /// Records the placement behind a number of an origin, when a replica first sends it.
    pub(crate) fn record_placement(&mut self, origin: Origin, number: u64, placed: PlacedPrompt) {
        self.placements.entry((origin, number)).or_insert(placed);
    }
}

/// Returns whether a placement is in the state, or need not be because it was for another incarnation of its
/// endpoint.
fn is_held(pool_state: &PoolState, placed: &PlacedPrompt) -> bool {
    let Some(member) = pool_state.endpoint(placed.endpoint) else { return true };
    if member.observed.incarnation != placed.incarnation {
        return true;
    }
    let matches = pool_state.index_writer().index().lookup(&placed.chain).matches;
    matches.iter().any(|of| of.endpoint == placed.endpoint && of.blocks == placed.chain.len())
}
