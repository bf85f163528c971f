//! The figures of one run.

use serde::Serialize;

use super::bound::Bound;
use super::profile::Workload;
use crate::sim::Ran;

/// The figures of one run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Share of all prompt tokens that came out of caches.
    pub(crate) hit_rate: f64,
    pub(crate) ttft_mean_ms: f64,
    pub(crate) ttft_p50_ms: f64,
    pub(crate) ttft_p90_ms: f64,
    pub(crate) ttft_p99_ms: f64,
    /// Of the mean time to the first token, what went into prompts that some pod had held before.
    pub(crate) missed_mean_ms: f64,
    /// To the last token.
    pub(crate) whole_mean_ms: f64,
    /// Standard deviation ÷ mean, over the pods, of the tokens that they computed.
    pub(crate) spread: f64,
}

impl Figures {
    pub(crate) fn of(workload: &Workload, ran: &Ran) -> Self {
        let cached_tokens: u64 = ran.served.iter().map(|served| u64::from(served.cached_tokens)).sum();
        let times = ran.served.iter().map(|served| served.ttft_us).collect();
        let whole_us: u64 = ran.served.iter().map(|served| served.whole_us).sum();
        let missed_us = ran.served.iter().zip(&workload.bounds).map(|(served, bound)| {
            let missed_tokens = f64::from(bound.cached_tokens.saturating_sub(served.cached_tokens));
            missed_tokens / f64::from(workload.pods[served.pod].prefill_tokens_per_second) * 1e6
        });
        let count = ran.served.len().max(1) as f64;
        Self {
            hit_rate: hit_rate(workload, cached_tokens),
            missed_mean_ms: missed_us.sum::<f64>() / count / 1e3,
            whole_mean_ms: whole_us as f64 / count / 1e3,
            spread: spread(&ran.work_tokens),
            ..Self::of_times(times)
        }
    }

    /// Of requests that have all that they need for themselves.
    pub(super) fn of_bounds(workload: &Workload, bounds: &[Bound]) -> Self {
        let cached_tokens = bounds.iter().map(|bound| u64::from(bound.cached_tokens)).sum();
        let times = bounds.iter().map(|bound| bound.ttft_us).collect();
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

    /// Mean of each figure.
    pub(super) fn mean(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
        Self {
            hit_rate: mean(|run| run.hit_rate),
            ttft_mean_ms: mean(|run| run.ttft_mean_ms),
            ttft_p50_ms: mean(|run| run.ttft_p50_ms),
            ttft_p90_ms: mean(|run| run.ttft_p90_ms),
            ttft_p99_ms: mean(|run| run.ttft_p99_ms),
            missed_mean_ms: mean(|run| run.missed_mean_ms),
            whole_mean_ms: mean(|run| run.whole_mean_ms),
            spread: mean(|run| run.spread),
        }
    }
}

fn hit_rate(workload: &Workload, cached_tokens: u64) -> f64 {
    let prompt_tokens: u64 = workload.requests.iter().map(|coming| u64::from(coming.prompt.tokens)).sum();
    cached_tokens as f64 / prompt_tokens.max(1) as f64
}

fn spread(work_tokens: &[u64]) -> f64 {
    let count = work_tokens.len().max(1) as f64;
    let mean = work_tokens.iter().sum::<u64>() as f64 / count;
    let variance = work_tokens.iter().map(|work| (*work as f64 - mean).powi(2)).sum::<f64>() / count;
    if mean > 0.0 { variance.sqrt() / mean } else { 0.0 }
}
