//! How endpoints answer, and whether those whose circuit is half-open get one probe at a time.

use rand::Rng;
use signalbox_state::{Circuit, EndpointState, ResponseOutcome};
use signalbox_types::EndpointKey;

use super::Replica;
use crate::cluster::Cluster;
use crate::counters::Counter;
use crate::plan::FaultKind;

impl Replica {
    /// Checks a request that is a probe. Two kinds are not counted: the probe of a model's circuit does not say whether
    /// the endpoint works; and at an endpoint that another replica is to probe, the request is there for want of a
    /// better endpoint.
    pub(super) fn check_probe(&self, cluster: &mut Cluster, member: &EndpointState) {
        let Circuit::HalfOpen(prober) = member.assessment.circuit else { return };
        if prober.is_none_or(|prober| prober == self.origin) {
            cluster.counters.increment(Counter::Probe);
            let quiet_us = cluster.undisturbed_us(FaultKind::is_harmless_to_streams);
            let quiet_us = if cluster.is_reliable() { quiet_us } else { 0 };
            cluster.checker.check_probe(quiet_us, (self.node, self.run), member.key);
        }
    }

    /// Returns how an endpoint answers a request: one in fifty fails, and one in ten is refused. After the faults all are
    /// served.
    pub(super) fn outcome_of(&self, cluster: &mut Cluster, endpoint: EndpointKey) -> ResponseOutcome {
        let chance = cluster.queue.rng.random_range(0..50);
        match chance {
            _ if cluster.pods.is_failing(endpoint) => ResponseOutcome::Failed,
            _ if !cluster.accepts_requests => ResponseOutcome::FirstOutput,
            0 => ResponseOutcome::Failed,
            1..=5 => ResponseOutcome::Refused,
            _ => ResponseOutcome::FirstOutput,
        }
    }
}
