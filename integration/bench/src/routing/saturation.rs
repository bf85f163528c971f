//! Finds the rate at which a workload saturates the pods.

use super::workload::Workload;
use crate::policy::least_load;
use crate::sim::{self, RunConfig};

/// A rate saturates the pods if the time from the last arrival to the last first token exceeds this share of
/// the time from the first arrival to the last, because then the queue has grown throughout the run.
const DRAIN_SHARE: f64 = 0.03;

/// Number of bisection steps, which find the rate to within half a percent.
const HALVINGS: usize = 9;

/// Returns the highest rate in requests per second that least-load with one replica can sustain.
pub(crate) fn find(workload: &Workload, seed: u64) -> f64 {
    let policy = least_load();
    let is_saturated = |rate: f64| {
        let run_result = sim::run(RunConfig {
            requests: &workload.requests,
            speed: rate / workload.rate_per_second,
            pods: &workload.pods,
            policy: &policy,
            replicas: 1,
            kills: &[],
            seed,
        });
        run_result.drain_us as f64 > run_result.window_us as f64 * DRAIN_SHARE
    };
    let capacity = uncached_capacity_per_second(workload);
    let (mut low, mut high) = (capacity / 4.0, capacity * 4.0);
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        if is_saturated(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// Returns the requests per second if nothing were cached and the pods only computed prompts.
fn uncached_capacity_per_second(workload: &Workload) -> f64 {
    let tokens: f64 = workload.requests.iter().map(|request| f64::from(request.prompt.tokens)).sum();
    let tokens_per_second: f64 =
        workload.pods.iter().map(|pod| f64::from(pod.prefill_tokens_per_second)).sum();
    tokens_per_second / (tokens / workload.requests.len().max(1) as f64)
}
