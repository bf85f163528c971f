//! Checks that an endpoint whose circuit is half-open gets one probe at a time.

use std::collections::BTreeMap;

use signalbox_state::{Circuit, Feedback, PoolState, ResponseOutcome};
use signalbox_types::EndpointKey;

use super::{ProcessId, StepChecker};
use crate::counters::{Counter, Counters};
use crate::invariants::Invariant;

/// How long an owner waits for the outcome of a probe, in microseconds: a little less than it does, because clocks drift.
const OUTCOME_WITHIN_US: u64 = 9_500_000;

/// How long after a fault there can still be two probes, in microseconds: the report of the first may have been lost.
const PROBES_SETTLE_US: u64 = 3_000_000;

/// The probes whose outcome is not known yet.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Who has sent the last probe of each endpoint, and when, in microseconds.
    sent: BTreeMap<EndpointKey, (ProcessId, u64)>,
}

impl StepChecker {
    /// Checks a probe that a replica sends after there has been no fault for `quiet_us`.
    pub(crate) fn check_probe(&mut self, quiet_us: u64, replica: ProcessId, endpoint: EndpointKey) {
        let before = self.probes.sent.insert(endpoint, (replica, self.now_us));
        let Some((earlier, at_us)) = before else { return };
        let age_us = self.now_us - at_us;
        if age_us < OUTCOME_WITHIN_US && quiet_us >= age_us + PROBES_SETTLE_US {
            self.fail(Invariant::OneProbeAtATime, || {
                format!("{replica:?} probes {endpoint} {age_us} us after {earlier:?} did, without an outcome")
            });
        }
    }

    /// Records that an endpoint has answered a request.
    pub(crate) fn record_outcome(&mut self, endpoint: EndpointKey) {
        self.probes.sent.remove(&endpoint);
    }

    /// Records the probes and outcomes that an owner with this state learns of.
    pub(super) fn record_known_probes(
        &mut self,
        owner: ProcessId,
        pool_state: &PoolState,
        feedback: &Feedback,
    ) {
        let (now_us, Some(record)) = (self.now_us, self.owners.get_mut(&owner)) else { return };
        for response in &feedback.responses {
            let circuit = pool_state.endpoint(response.endpoint).map(|member| member.assessment.circuit);
            match (response.outcome, circuit) {
                (ResponseOutcome::ProbeSent, Some(Circuit::HalfOpen(_))) => {
                    record.probed_us.insert(response.endpoint, now_us);
                }
                (ResponseOutcome::ProbeSent | ResponseOutcome::Refused, _)
                | (ResponseOutcome::Stored(_) | ResponseOutcome::Deleted(_), _) => {}
                (ResponseOutcome::Failed | ResponseOutcome::FirstOutput, _) => {
                    record.probed_us.remove(&response.endpoint);
                }
            }
        }
    }

    /// Forgets the circuit of an endpoint that an owner removes.
    pub(super) fn forget_circuit(&mut self, owner: ProcessId, endpoint: EndpointKey) {
        let Some(record) = self.owners.get_mut(&owner) else { return };
        record.circuits.remove(&endpoint);
        record.probed_us.remove(&endpoint);
    }

    /// Checks the circuit that an owner gives an endpoint.
    pub(super) fn check_circuit(
        &mut self,
        counters: &mut Counters,
        owner: ProcessId,
        endpoint: EndpointKey,
        circuit: Circuit,
    ) {
        let Some(record) = self.owners.get_mut(&owner) else { return };
        let before = record.circuits.insert(endpoint, circuit).unwrap_or_default();
        let probed_us = record.probed_us.get(&endpoint).copied();
        match circuit {
            Circuit::Open if before == Circuit::Closed => counters.increment(Counter::CircuitOpened),
            Circuit::Closed if before != Circuit::Closed => counters.increment(Counter::CircuitClosed),
            Circuit::HalfOpen(Some(prober)) if before != circuit => {
                counters.increment(Counter::ProberNamed);
                if let Some(at_us) = probed_us.filter(|at_us| self.now_us < at_us + OUTCOME_WITHIN_US) {
                    let age_us = self.now_us - at_us;
                    self.fail(Invariant::OneProbeAtATime, || {
                        format!("{owner:?} names {prober} to probe {endpoint}, but knows of a probe {age_us} us ago")
                    });
                }
            }
            _ => {}
        }
    }
}
