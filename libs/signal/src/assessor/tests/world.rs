//! A pool whose parts a test changes one by one.

use crate::assessor::SignalAssessor;
use crate::group::Group;
use crate::observation::{ArrivalCounts, EppReplica, Observation, Pod, PodSpeed, PodState, ServedCounts};
use crate::settings::SignalSettings;
use crate::signal::{Queue, Signal};

pub(super) const SPEED: PodSpeed =
    PodSpeed { prefill_tokens_per_second: 8_000.0, decode_token_s: 0.006, decode_interference_s: 0.000_35 };

/// A pool and its assessor. Prompts have 1,000 uncached tokens and no output, so eight requests a second fill a pod.
pub(super) struct World {
    pub(super) assessor: SignalAssessor,
    pub(super) now_s: u64,
    pub(super) pods: Vec<Pod>,
    pub(super) replicas: Vec<EppReplica>,
    pub(super) queue: Queue,
    pub(super) signal: Signal,
}

pub(super) fn pod(key: u64) -> Pod {
    Pod {
        key,
        group: Group::default(),
        cost: 1.0,
        state: PodState::Ready,
        speed: Some(SPEED),
        kv_tokens: 500_000,
        kv_used_tokens: Some(0),
        saturation: 0.0,
        requests_in_flight: 0,
        prefill_in_flight: 0,
        served: ServedCounts::default(),
    }
}

pub(super) fn replica(origin: u64) -> EppReplica {
    EppReplica { origin, arrivals: Some(ArrivalCounts::default()), is_heard: true }
}

impl World {
    pub(super) fn new(pods: u64) -> Self {
        Self {
            assessor: SignalAssessor::new(SignalSettings::default()),
            now_s: 0,
            pods: (1..=pods).map(pod).collect(),
            replicas: vec![replica(1)],
            queue: Queue::default(),
            signal: Signal::default(),
        }
    }

    /// Lets `requests` arrive per second, at the replicas in turn, and assesses once a second.
    pub(super) fn run(&mut self, seconds: u64, requests: u64) -> &Signal {
        for _ in 0..seconds {
            self.now_s += 1;
            for number in 0..requests {
                let at = (number as usize + self.now_s as usize) % self.replicas.len();
                if let Some(arrivals) = &mut self.replicas[at].arrivals {
                    arrivals.requests += 1;
                    arrivals.prefill_tokens += 1_000;
                }
            }
            self.assess();
        }
        &self.signal
    }

    pub(super) fn assess(&mut self) {
        let observation = Observation {
            epoch: 1,
            now_ms: self.now_s * 1_000,
            pods: self.pods.clone(),
            epp_replicas: self.replicas.clone(),
            queue: self.queue,
            adapters: Vec::new(),
        };
        self.signal = self.assessor.assess(&observation);
    }

    pub(super) fn desired(&self) -> u32 {
        self.signal.groups.iter().map(|group| group.desired).sum()
    }

    pub(super) fn set_pods(&mut self, count: u64) {
        self.pods = (1..=count).map(pod).collect();
    }
}
