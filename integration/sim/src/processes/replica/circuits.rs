//! Keeps requests from endpoints whose circuit is open, and probes those whose circuit is half-open.

use rand::Rng;
use signalbox_state::{Circuit, EndpointState, ResponseOutcome, ResponseReport};
use signalbox_types::{EndpointKey, ModelKey};

use super::Replica;
use crate::cluster::Cluster;
use crate::counters::Counter;
use crate::plan::FaultKind;

/// What a request would be at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// One request of many.
    Usual,
    /// The probe of a half-open circuit.
    Probe,
    /// It is not sent.
    Refused,
}

impl Replica {
    /// Returns what a request for `model` would be at an endpoint.
    pub(super) fn admission(&self, now_ms: u64, member: &EndpointState, model: ModelKey) -> Admission {
        let of_models = &member.assessment.model_circuits;
        let of_model = of_models.iter().find(|of| of.model == model).map(|of| of.circuit);
        let circuits = [Some(member.assessment.circuit), of_model];
        let admissions = circuits.into_iter().flatten().map(|circuit| match circuit {
            Circuit::Closed => Admission::Usual,
            Circuit::HalfOpen(prober)
                if prober.is_none_or(|prober| prober == self.origin)
                    && !self.probes.endpoints(now_ms).contains(&member.key)
                    && self.batcher.has_room_for_events() =>
            {
                Admission::Probe
            }
            Circuit::HalfOpen(_) | Circuit::Open => Admission::Refused,
        });
        admissions.max_by_key(|admission| *admission as u8).unwrap_or(Admission::Usual)
    }

    /// Makes a request the probe of an endpoint.
    pub(super) fn probe(&mut self, cluster: &mut Cluster, member: &EndpointState, model: ModelKey) {
        let (now_ms, endpoint) = (cluster.now_ms(self.node), member.key);
        if !self.probes.claim(now_ms, endpoint) {
            return;
        }
        let outcome = ResponseOutcome::ProbeSent;
        self.batcher.add_response(ResponseReport { endpoint, model, outcome });
        // The circuits of models are not counted: their probes do not say whether the endpoint works.
        if member.assessment.circuit != Circuit::Closed {
            cluster.counters.increment(Counter::Probe);
            let quiet_us = cluster.undisturbed_us(FaultKind::is_harmless_to_streams);
            let quiet_us = if cluster.is_reliable() { quiet_us } else { 0 };
            cluster.checker.check_probe(quiet_us, (self.node, self.run), endpoint);
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
