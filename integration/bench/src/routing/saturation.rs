//! Finds the rate at which a workload saturates the pods.

use super::bounds::Bound;
use super::workload::Workload;
use crate::policies::least_load;
use crate::sim::{self, RunConfig, ServedRequest};

/// A rate saturates the pods if requests wait longer and longer: by more than this share of the time that passes.
const WAIT_GROWTH: f64 = 0.03;

/// Number of bisection steps, which find the rate to within half a percent.
const HALVINGS: usize = 10;

/// Returns the highest rate in requests per second that least-load with one replica can sustain.
pub(crate) fn find(workload: &Workload, seed: u64) -> f64 {
    let contender = least_load();
    let is_saturated = |rate: f64| {
        let run_result = sim::run(RunConfig {
            requests: &workload.requests,
            speed: rate / workload.rate_per_second,
            pods: &workload.pods,
            contender: &contender,
            replicas: 1,
            kills: &[],
            seed,
            flow: None,
        });
        wait_growth(&run_result.served, &workload.lower_bounds) > WAIT_GROWTH
    };
    let capacity = uncached_capacity_per_second(workload);
    let (mut low, mut high) = (capacity / 16.0, capacity * 4.0);
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

/// Returns by how much the wait of a request grows with the time of its arrival: the slope of the least-squares line.
/// The wait is the time to first token beyond its lower bound, so that a long prompt at the end does not look like a
/// queue.
fn wait_growth(served: &[ServedRequest], lower_bounds: &[Bound]) -> f64 {
    let points = served
        .iter()
        .zip(lower_bounds)
        .map(|(served, bound)| (served.arrived_us as f64, served.ttft_us as f64 - bound.ttft_us as f64));
    let count = served.len().max(1) as f64;
    let (times, waits) = points.clone().fold((0.0, 0.0), |sums, point| (sums.0 + point.0, sums.1 + point.1));
    let (mean_time, mean_wait) = (times / count, waits / count);
    let (covariance, variance) = points.fold((0.0, 0.0), |sums, (time, wait)| {
        let from_mean = time - mean_time;
        (sums.0 + from_mean * (wait - mean_wait), sums.1 + from_mean * from_mean)
    });
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

/// Returns the requests per second if nothing were cached and the pods only computed prompts.
fn uncached_capacity_per_second(workload: &Workload) -> f64 {
    let tokens: f64 = workload.requests.iter().map(|request| f64::from(request.prompt.tokens)).sum();
    let tokens_per_second: f64 =
        workload.pods.iter().map(|pod| f64::from(pod.prefill_tokens_per_second)).sum();
    tokens_per_second / (tokens / workload.requests.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_that_grows_by_a_tenth_of_the_time_has_that_slope() {
        let bound = Bound { ttft_us: 500, cached_tokens: 0 };
        let served = |at: u64| ServedRequest {
            arrived_us: at * 1_000,
            ttft_us: 500 + at * 100,
            ..ServedRequest::default()
        };
        let served: Vec<_> = (0..50).map(served).collect();
        assert!((wait_growth(&served, &[bound; 50]) - 0.1).abs() < 1e-9);
        assert_eq!(0.0, wait_growth(&served[..1], &[bound]));
    }
}
