//! The results of a run in the form in which they are printed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::statistics::{Latencies, Statistics};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// All requests were sent and answered.
    Complete,
    /// The user stopped the run.
    Interrupted,
}

/// The results of a run. `--output json` prints them as JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) target: String,
    pub(crate) profile: &'static str,
    pub(crate) model: String,
    /// Number of requests that were served or failed.
    pub(crate) requests: u64,
    /// Whether the run was stopped before all requests were answered.
    pub(crate) interrupted: bool,
    pub(crate) duration_seconds: f64,
    pub(crate) errors: Errors,
    /// Time to first token. `None` if nothing was streamed.
    pub(crate) ttft_ms: Option<Percentiles>,
    pub(crate) latency_ms: Option<Percentiles>,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Share of the prompt tokens that was found in caches, 0 to 1. `None` if no server reports it.
    pub(crate) cached_token_share: Option<f64>,
    pub(crate) spread: Spread,
}

/// Requests that failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Errors {
    pub(crate) total: u64,
    pub(crate) by_kind: BTreeMap<String, u64>,
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

/// The distribution of requests over pods.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Spread {
    /// Requests per pod.
    pub(crate) pods: BTreeMap<String, u64>,
    /// Requests whose response names no pod.
    pub(crate) unknown: u64,
    /// Requests of the busiest pod divided by the mean over pods with requests. 1 is an even distribution.
    pub(crate) max_over_mean: Option<f64>,
}

/// What a run sent, and where.
#[derive(Clone, Debug)]
pub(crate) struct RunInfo {
    pub(crate) target: String,
    pub(crate) profile: &'static str,
    pub(crate) model: String,
}

impl Report {
    /// Creates the report of a run that took `duration`.
    pub(crate) fn new(
        run_info: RunInfo,
        statistics: &Statistics,
        duration: Duration,
        finish: Finish,
    ) -> Self {
        let by_kind =
            statistics.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect();
        Self {
            target: run_info.target,
            profile: run_info.profile,
            model: run_info.model,
            requests: statistics.served + statistics.failed(),
            interrupted: finish == Finish::Interrupted,
            duration_seconds: duration.as_secs_f64(),
            errors: Errors { total: statistics.failed(), by_kind },
            ttft_ms: Percentiles::of(&statistics.ttft),
            latency_ms: Percentiles::of(&statistics.latency),
            prompt_tokens: statistics.prompt_tokens,
            completion_tokens: statistics.completion_tokens,
            cached_token_share: statistics
                .cached_tokens
                .and_then(|cached_tokens| share(cached_tokens, statistics.prompt_tokens)),
            spread: Spread::of(&statistics.pods),
        }
    }
}

impl Percentiles {
    fn of(times: &Latencies) -> Option<Self> {
        (!times.is_empty()).then(|| Self {
            mean: times.mean_ms(),
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p99: times.quantile_ms(0.99),
        })
    }
}

impl Spread {
    fn of(counts: &BTreeMap<Option<String>, u64>) -> Self {
        let pods: BTreeMap<String, u64> =
            counts.iter().filter_map(|(pod, count)| Some((pod.clone()?, *count))).collect();
        let unknown = counts.get(&None).copied().unwrap_or(0);
        let most = pods.values().max().copied().unwrap_or(0);
        let max_over_mean = share(most * pods.len() as u64, pods.values().sum());
        Self { pods, unknown, max_over_mean }
    }
}

/// Returns the quotient of two counts, or `None` if the divisor is 0.
#[allow(clippy::cast_precision_loss)] // counts are far below 2^53
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_covers_only_known_pods() {
        let counts = BTreeMap::from([(Some("a".to_owned()), 3), (Some("b".to_owned()), 1), (None, 9)]);
        let spread = Spread::of(&counts);
        assert_eq!((spread.pods.len(), spread.unknown, spread.max_over_mean), (2, 9, Some(1.5)));
        assert_eq!(Spread::of(&BTreeMap::new()).max_over_mean, None);
    }

    #[test]
    fn missing_measurements_are_null() {
        let run_info = RunInfo { target: "t".into(), profile: "unique", model: "m".into() };
        let report = Report::new(run_info, &Statistics::new(), Duration::ZERO, Finish::Interrupted);
        let json = serde_json::to_value(report).unwrap();
        assert!(json["ttft_ms"].is_null() && json["cached_token_share"].is_null());
        assert_eq!(json["interrupted"], true);
        assert_eq!(json["errors"]["total"], 0);
    }
}
