//! What an assessment reads: the pods, and what the EPP replicas have counted.

use std::sync::Arc;

use crate::group::Group;
use crate::signal::Queue;

/// Whether a pod serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodState {
    /// It serves at full speed.
    #[default]
    Ready,
    /// It has started recently, and is slower than it will be.
    Warming,
    /// Its metrics are out of date; it may serve.
    Stale,
    /// It is about to be removed.
    Draining,
    /// It does not serve: down, asleep, or taken out after failures.
    Failed,
}

impl PodState {
    /// Returns whether a pod in this state serves requests, as far as is known.
    pub fn is_serving(self) -> bool {
        self.is_current() || self == Self::Stale
    }

    /// Returns whether a pod in this state serves requests, and its metrics are current.
    pub fn is_current(self) -> bool {
        matches!(self, Self::Ready | Self::Warming)
    }
}

/// The measured speed of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PodSpeed {
    /// Uncached prompt tokens per second.
    pub prefill_tokens_per_second: f64,
    /// Time per output token of a request that runs alone, in seconds.
    pub decode_token_s: f64,
    /// What each running request adds to it, in seconds.
    pub decode_interference_s: f64,
}

/// A pod: one replica, however many endpoints it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// What identifies it within the pool.
    pub key: u64,
    /// The group that it is scaled with.
    pub group: Group,
    /// What it costs relative to others, in any unit.
    pub cost: f64,
    /// Whether it serves.
    pub state: PodState,
    /// Its speed; `None` if nothing was measured there.
    pub speed: Option<PodSpeed>,
    /// Tokens that fit into its KV cache.
    pub kv_tokens: u64,
    /// Tokens in its KV cache that running requests use; `None` if it does not report them.
    pub kv_used_tokens: Option<u64>,
    /// How full it is: 0 is idle, 1 is full.
    pub saturation: f64,
    /// Requests that replicas have in flight there.
    pub requests_in_flight: u64,
    /// Uncached prompt tokens of those without a first output.
    pub prefill_in_flight: u64,
    /// Requests and output tokens since its engine started.
    pub served: ServedCounts,
}

impl Pod {
    /// Returns how full those of `pods` are whose metrics are current, on average; `None` without any.
    pub(crate) fn mean_saturation<'a>(pods: impl Iterator<Item = &'a Self>) -> Option<f64> {
        let current: Vec<f64> = pods.filter(|pod| pod.state.is_current()).map(|pod| pod.saturation).collect();
        (!current.is_empty()).then(|| current.iter().sum::<f64>() / current.len() as f64)
    }
}

/// What an engine has done since it started. It falls when the engine restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedCounts {
    /// Requests.
    pub requests: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// What one run of an EPP replica has counted since it started. No part falls, so a report that is lost or repeated does no
/// harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrivalCounts {
    /// Requests that arrived, refused and waiting ones included.
    pub requests: u64,
    /// Their uncached prompt tokens.
    pub prefill_tokens: u64,
    /// The output tokens that they are expected to have.
    pub output_tokens: u64,
    /// Those that were refused for lack of room.
    pub refused: u64,
}

/// One run of an EPP replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EppReplica {
    /// What identifies the run.
    pub origin: u64,
    /// What it has counted; `None` if it is of a release that counts nothing.
    pub arrivals: Option<ArrivalCounts>,
    /// Whether it has reported lately.
    pub is_heard: bool,
}

/// Everything that one assessment reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The epoch of the owner.
    pub epoch: u64,
    /// The pool's clock in milliseconds.
    pub now_ms: u64,
    /// The pods that the pool knows. Those that have not started yet are not among them.
    pub pods: Vec<Pod>,
    /// The EPP replicas that have reported and have not expired.
    pub epp_replicas: Vec<EppReplica>,
    /// What waits in flow control.
    pub queue: Queue,
    /// How many replicas the requests of each LoRA adapter keep busy, in thousandths.
    pub adapters: Vec<(Arc<str>, u64)>,
}
