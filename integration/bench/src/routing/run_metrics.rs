//! The metrics of one run.

use serde::Serialize;

use super::bounds::Bound;
use super::workload::Workload;
use crate::sim::RunResult;

/// The metrics of one run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct RunMetrics {
    /// Share of all prompt tokens that were found in caches.
    pub(crate) hit_rate: f64,
    pub(crate) ttft_mean_ms: f64,
    pub(crate) ttft_p50_ms: f64,
    pub(crate) ttft_p90_ms: f64,
    pub(crate) ttft_p99_ms: f64,
    /// Part of the mean time to first token spent on prompt tokens that some pod had computed before.
    pub(crate) recomputed_mean_ms: f64,
    /// Mean time to the last token.
    pub(crate) e2e_mean_ms: f64,
    /// Spread of work: standard deviation ÷ mean, over the pods, of the tokens that they computed.
    pub(crate) spread: f64,
}

impl RunMetrics {
    pub(crate) fn of_run(workload: &Workload, run_result: &RunResult) -> Self {
        let cached_tokens: u64 = run_result.served.iter().map(|served| u64::from(served.cached_tokens)).sum();
        let times = run_result.served.iter().map(|served| served.ttft_us).collect();
        let e2e_us: u64 = run_result.served.iter().map(|served| served.e2e_us).sum();
        let recomputed_us = run_result.served.iter().zip(&workload.lower_bounds).map(|(served, bound)| {
            let recomputed_tokens = f64::from(bound.cached_tokens.saturating_sub(served.cached_tokens));
            recomputed_tokens / f64::from(workload.pods[served.pod].prefill_tokens_per_second) * 1e6
        });
        let count = run_result.served.len().max(1) as f64;
        Self {
            hit_rate: hit_rate(workload, cached_tokens),
            recomputed_mean_ms: recomputed_us.sum::<f64>() / count / 1e3,
            e2e_mean_ms: e2e_us as f64 / count / 1e3,
            spread: relative_deviation(&run_result.work_tokens),
            ..Self::of_times(times)
        }
    }

    /// Computes the metrics of requests that do not compete with others.
    pub(super) fn of_bounds(workload: &Workload, lower_bounds: &[Bound]) -> Self {
        let cached_tokens = lower_bounds.iter().map(|bound| u64::from(bound.cached_tokens)).sum();
        let times = lower_bounds.iter().map(|bound| bound.ttft_us).collect();
        Self { hit_rate: hit_rate(workload, cached_tokens), ..Self::of_times(times) }
    }

    fn of_times(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        let count = times_us.len();
        let rank = |percent: usize| (count * percent).div_ceil(100).max(1) - 1;
        let ms = |percent: usize| times_us.get(rank(percent)).map_or(0.0, |us| *us as f64 / 1e3);
        Self {
            ttft_mean_ms: times_us.iter().sum::<u64>() as f64 / count.max(1) as f64 / 1e3,
            ttft_p50_ms: ms(50),
            ttft_p90_ms: ms(90),
            ttft_p99_ms: ms(99),
            ..Self::default()
        }
    }

    /// Returns the mean of each metric.
    pub(super) fn mean(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
        Self {
            hit_rate: mean(|run| run.hit_rate),
            ttft_mean_ms: mean(|run| run.ttft_mean_ms),
            ttft_p50_ms: mean(|run| run.ttft_p50_ms),
            ttft_p90_ms: mean(|run| run.ttft_p90_ms),
            ttft_p99_ms: mean(|run| run.ttft_p99_ms),
            recomputed_mean_ms: mean(|run| run.recomputed_mean_ms),
            e2e_mean_ms: mean(|run| run.e2e_mean_ms),
            spread: mean(|run| run.spread),
        }
    }
}

fn hit_rate(workload: &Workload, cached_tokens: u64) -> f64 {
    let prompt_tokens: u64 = workload.requests.iter().map(|request| u64::from(request.prompt.tokens)).sum();
    cached_tokens as f64 / prompt_tokens.max(1) as f64
}

fn relative_deviation(work_tokens: &[u64]) -> f64 {
    let count = work_tokens.len().max(1) as f64;
    let mean = work_tokens.iter().sum::<u64>() as f64 / count;
    let variance = work_tokens.iter().map(|work| (*work as f64 - mean).powi(2)).sum::<f64>() / count;
    if mean > 0.0 { variance.sqrt() / mean } else { 0.0 }
}
