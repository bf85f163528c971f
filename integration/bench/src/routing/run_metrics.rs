//! The metrics of one run.

pub(super) mod columns;

use serde::{Deserialize, Serialize};
use signalbox_bench_report::mean;

use super::bounds::Bound;
use super::workload::Workload;
use crate::sim::{RunResult, ServedRequest};

/// The metrics of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunMetrics {
    /// Share of all prompt tokens that were found in caches.
    pub(crate) hit_rate: f64,
    pub(crate) ttft_mean_ms: f64,
    pub(crate) ttft_p50_ms: f64,
    pub(crate) ttft_p90_ms: f64,
    pub(crate) ttft_p99_ms: f64,
    /// Share of all prompt tokens that were computed although a pod had computed them before.
    pub(crate) recomputed_share: f64,
    /// Mean time to the last token.
    pub(crate) e2e_mean_ms: f64,
    /// Spread of work: standard deviation ÷ mean, over the pods, of the tokens that they computed.
    pub(crate) spread: f64,
    /// Mean absolute difference between the cached tokens that a decision predicted and those that the
    /// engine found, as a share of the prompt tokens. Contenders that predict nothing have none.
    pub(crate) prediction_error: Option<f64>,
    /// The mean difference itself: positive where more was predicted than found.
    pub(crate) prediction_bias: Option<f64>,
}

impl RunMetrics {
    pub(crate) fn of_run(workload: &Workload, run_result: &RunResult) -> Self {
        let served = &run_result.served;
        let prompt_tokens = prompt_tokens(workload);
        let share = |tokens: u64| tokens as f64 / prompt_tokens;
        let recomputed = served.iter().zip(&workload.lower_bounds);
        let recomputed =
            recomputed.map(|(served, bound)| bound.cached_tokens.saturating_sub(served.cached_tokens));
        let e2e_us: u64 = served.iter().map(|served| served.e2e_us).sum();
        let differences: Option<Vec<i64>> = served.iter().map(ServedRequest::prediction_difference).collect();
        Self {
            hit_rate: share(served.iter().map(|served| u64::from(served.cached_tokens)).sum()),
            recomputed_share: share(recomputed.map(u64::from).sum()),
            e2e_mean_ms: e2e_us as f64 / served.len().max(1) as f64 / 1e3,
            spread: relative_deviation(&run_result.work_tokens),
            prediction_error: differences
                .as_ref()
                .map(|tokens| share(tokens.iter().map(|tokens| tokens.unsigned_abs()).sum())),
            prediction_bias: differences.map(|tokens| tokens.iter().sum::<i64>() as f64 / prompt_tokens),
            ..Self::of_times(served.iter().map(|served| served.ttft_us).collect())
        }
    }

    /// Computes the metrics of requests that do not compete with others.
    pub(super) fn of_bounds(workload: &Workload, bounds: &[Bound]) -> Self {
        let cached_tokens: u64 = bounds.iter().map(|bound| u64::from(bound.cached_tokens)).sum();
        Self {
            hit_rate: cached_tokens as f64 / prompt_tokens(workload),
            ..Self::of_times(bounds.iter().map(|bound| bound.ttft_us).collect())
        }
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

    /// Returns the error and the bias of predicted cached tokens as a cell of a table.
    pub(super) fn prediction_percent(&self) -> String {
        let (Some(error), Some(bias)) = (self.prediction_error, self.prediction_bias) else {
            return String::new();
        };
        // Adding 0 turns -0 into 0.
        let bias = (bias * 1_000.0).round() / 10.0 + 0.0;
        format!("{:.1} / {bias:+.1}", error * 100.0)
    }

    /// Returns the mean of each metric.
    pub(super) fn mean(runs: &[Self]) -> Self {
        let mean_of = |of: fn(&Self) -> f64| mean(runs.iter().map(of)).unwrap_or(0.0);
        let mean_of_some =
            |of: fn(&Self) -> Option<f64>| mean(runs.iter().map(of).collect::<Option<Vec<_>>>()?);
        Self {
            hit_rate: mean_of(|run| run.hit_rate),
            ttft_mean_ms: mean_of(|run| run.ttft_mean_ms),
            ttft_p50_ms: mean_of(|run| run.ttft_p50_ms),
            ttft_p90_ms: mean_of(|run| run.ttft_p90_ms),
            ttft_p99_ms: mean_of(|run| run.ttft_p99_ms),
            recomputed_share: mean_of(|run| run.recomputed_share),
            e2e_mean_ms: mean_of(|run| run.e2e_mean_ms),
            spread: mean_of(|run| run.spread),
            prediction_error: mean_of_some(|run| run.prediction_error),
            prediction_bias: mean_of_some(|run| run.prediction_bias),
        }
    }
}

fn prompt_tokens(workload: &Workload) -> f64 {
    let tokens: u64 = workload.requests.iter().map(|request| u64::from(request.prompt.tokens)).sum();
    tokens.max(1) as f64
}

fn relative_deviation(work_tokens: &[u64]) -> f64 {
    let count = work_tokens.len().max(1) as f64;
    let mean = work_tokens.iter().sum::<u64>() as f64 / count;
    let variance = work_tokens.iter().map(|work| (*work as f64 - mean).powi(2)).sum::<f64>() / count;
    if mean > 0.0 { variance.sqrt() / mean } else { 0.0 }
}
