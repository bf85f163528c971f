//! At which rate a workload is too much for the pods.

use super::profile::Workload;
use crate::policy::least_load;
use crate::sim::{self, Setup};

/// A workload is too much when, after its last arrival, it takes longer than this share of the time from the first arrival to the last
/// until everybody has a first token: the queue has grown all along.
const DRAIN_SHARE: f64 = 0.03;

/// Halvings of the interval in which the rate is searched: to within half a percent.
const HALVINGS: usize = 9;

/// The highest rate, in requests per second, that least-load with one replica keeps up with.
pub(crate) fn find(workload: &Workload, seed: u64) -> f64 {
    let contender = least_load();
    let is_too_much = |rate: f64| {
        let ran = sim::run(Setup {
            requests: &workload.requests,
            speed: rate / workload.rate_per_second,
            pods: &workload.pods,
            contender: &contender,
            replicas: 1,
            blows: &[],
            seed,
        });
        ran.drain_us as f64 > ran.window_us as f64 * DRAIN_SHARE
    };
    let capacity = uncached_capacity_per_second(workload);
    let (mut low, mut high) = (capacity / 4.0, capacity * 4.0);
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        if is_too_much(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// Requests per second if nothing were cached and nothing else to be done than prompts.
fn uncached_capacity_per_second(workload: &Workload) -> f64 {
    let tokens: f64 = workload.requests.iter().map(|coming| f64::from(coming.prompt.tokens)).sum();
    let tokens_per_second: f64 =
        workload.pods.iter().map(|pod| f64::from(pod.prefill_tokens_per_second)).sum();
    tokens_per_second / (tokens / workload.requests.len().max(1) as f64)
}
