//! The owner of the pool with Signalbox's signal, and the EPP replicas that report to it.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::ModelConfig;
use signalbox_signal::{
    ArrivalCounts, EppReplica, Group, Metric, Observation, PodSpeed, PodState, Queue, ServedCounts, Signal,
    SignalAssessor, SignalSettings,
};

use super::deployment::{Deployment, Server};
use super::gate::{self, Gate};
use super::hpa::{Average, Behavior, Policy, Rules, Unknown};
use super::request::Request;

/// The output tokens that replicas expect of a request: they do not know better.
const EXPECTED_OUTPUT_TOKENS: u64 = 256;

/// How long a pod must have served until its speed is measured, in seconds, and how far the measurement may be off.
const MEASURED_S: f64 = 30.0;
const MEASUREMENT_ERROR: f64 = 0.08;

/// The context of a running request, with which its share of a pass is measured, in tokens.
const CONTEXT_TOKENS: u64 = 1_400;

/// The behavior of the autoscaler that reads the signal. The signal is steadied by itself: the autoscaler only limits how fast
/// replicas come and go.
pub(super) const BEHAVIOR: Behavior = Behavior {
    tolerance: 0.0,
    up: Rules {
        window_s: 0.0,
        policies: &[
            Policy::Percent { value: 100, period_s: 15.0 },
            Policy::Pods { value: 4, period_s: 15.0 },
        ],
    },
    down: Rules { window_s: 0.0, policies: &[Policy::Pods { value: 1, period_s: 30.0 }] },
};

/// What one EPP replica has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// When in a second it reports.
    phase_s: f64,
    reported: ArrivalCounts,
    /// What arrived after its last report.
    later: ArrivalCounts,
}

/// The owner.
#[derive(Debug)]
pub(super) struct Owner {
    assessor: SignalAssessor,
    signal: Signal,
    counters: Vec<Counter>,
    /// What the measured speed of a pod is in parts of its real one.
    measured: BTreeMap<u64, f64>,
    /// Chooses the replica of each request, and the errors of measurement.
    ways: SmallRng,
    errors: SmallRng,
}

impl Owner {
    /// Creates an owner to which `replicas` report.
    pub(super) fn new(replicas: usize, seed: u64) -> Self {
        let counter = |at: usize| Counter { phase_s: at as f64 / replicas as f64, ..Counter::default() };
        Self {
            assessor: SignalAssessor::new(SignalSettings::default()),
            signal: Signal::default(),
            counters: (0..replicas).map(counter).collect(),
            measured: BTreeMap::new(),
            ways: SmallRng::seed_from_u64(seed),
            errors: SmallRng::seed_from_u64(seed),
        }
    }

    /// Counts a request at the replica that it happens to reach.
    pub(super) fn arrived(&mut self, request: &Request) {
        let at = self.ways.random_range(0..self.counters.len());
        let counter = &mut self.counters[at];
        let is_reported = request.at_s.fract() <= counter.phase_s;
        let counts = if is_reported { &mut counter.reported } else { &mut counter.later };
        add(
            counts,
            ArrivalCounts {
                requests: 1,
                prefill_tokens: request.prompt_tokens.into(),
                output_tokens: EXPECTED_OUTPUT_TOKENS,
                refused: 0,
            },
        );
    }

    /// Assesses the pool, once a second.
    pub(super) fn assess(&mut self, second: u64, deployment: &Deployment, gate: &Gate, requests: &[Request]) {
        let pods = deployment.serving.iter().map(|server| self.pod(second as f64, server)).collect();
        let replica = |(origin, counter): (usize, &Counter)| EppReplica {
            origin: origin as u64,
            arrivals: Some(counter.reported),
            is_heard: true,
        };
        let observation = Observation {
            epoch: 1,
            now_ms: second * 1_000,
            pods,
            epp_replicas: self.counters.iter().enumerate().map(replica).collect(),
            queue: queue(second as f64, gate, requests),
            adapters: Vec::new(),
        };
        self.signal = self.assessor.assess(&observation);
        for counter in &mut self.counters {
            let later = std::mem::take(&mut counter.later);
            add(&mut counter.reported, later);
        }
    }

    /// Returns what an autoscaler reads.
    pub(super) fn metric(&self, second: u64) -> Result<Average, Unknown> {
        let milli = self.signal.read(second * 1_000, Metric::DesiredReplicas, |_| true);
        milli.map(|milli| Average { value: milli as f64 / 1e3, target: 1.0 }).map_err(|_| Unknown)
    }

    fn pod(&mut self, now_s: f64, server: &Server) -> signalbox_signal::Pod {
        let error = || 1.0 + MEASUREMENT_ERROR * (2.0 * self.errors.random::<f64>() - 1.0);
        let measured = *self.measured.entry(server.key).or_insert_with(error);
        let pod = &server.pod;
        let is_measured = now_s - server.since_s >= MEASURED_S;
        signalbox_signal::Pod {
            key: server.key,
            group: Group::default(),
            cost: 1.0,
            state: PodState::Ready,
            speed: is_measured.then(|| speed(pod.model(), measured)),
            kv_tokens: pod.model().kv_capacity_tokens,
            kv_used_tokens: Some(pod.kv_tokens() as u64),
            saturation: gate::saturation(server),
            requests_in_flight: pod.in_flight() as u64,
            prefill_in_flight: pod.prompt_tokens() as u64,
            served: ServedCounts { requests: pod.requests, output_tokens: pod.output_tokens },
        }
    }
}

/// Returns the speed of a model server, where `measured` is the measured part of it.
fn speed(model: &ModelConfig, measured: f64) -> PodSpeed {
    let seconds = |us: u64| us as f64 / 1e6;
    let attention_us = model.decode_attention_ps * CONTEXT_TOKENS / 1_000_000;
    PodSpeed {
        prefill_tokens_per_second: f64::from(model.prefill_tokens_per_second) * measured,
        decode_token_s: seconds(model.pass_base_us + model.pass_weights_us) / measured,
        decode_interference_s: seconds(model.pass_per_decoding_us + attention_us) / measured,
    }
}

fn queue(now_s: f64, gate: &Gate, requests: &[Request]) -> Queue {
    let waiting = || gate.waiting().map(|id| &requests[id.0]);
    let tokens = |request: &Request| u64::from(request.prompt_tokens) + EXPECTED_OUTPUT_TOKENS;
    Queue {
        requests: waiting().len() as u64,
        tokens: waiting().map(tokens).sum(),
        oldest_ms: waiting().next().map_or(0, |oldest| ((now_s - oldest.at_s) * 1e3) as u64),
    }
}

fn add(sum: &mut ArrivalCounts, more: ArrivalCounts) {
    sum.requests += more.requests;
    sum.prefill_tokens += more.prefill_tokens;
    sum.output_tokens += more.output_tokens;
    sum.refused += more.refused;
}
