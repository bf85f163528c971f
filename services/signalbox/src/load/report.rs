//! What a run amounts to, as it is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::tally::{Tally, Times};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// All requests were sent and answered.
    Complete,
    /// The user stopped it.
    Interrupted,
}

/// The results of a run; its JSON form is what `--output json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) target: String,
    pub(super) profile: &'static str,
    pub(super) model: String,
    /// Requests that were served or failed.
    pub(super) requests: u64,
    /// Stopped before all requests were answered.
    pub(super) interrupted: bool,
    pub(super) duration_seconds: f64,
    pub(super) errors: Errors,
    /// None if nothing was streamed.
    pub(super) ttft_ms: Option<Percentiles>,
    pub(super) latency_ms: Option<Percentiles>,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    /// Of the prompts' tokens, the share that was found in caches; none if the servers do not say.
    pub(super) cached_token_share: Option<f64>,
    pub(super) spread: Spread,
}

/// Requests that failed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Errors {
    pub(super) total: u64,
    pub(super) by_kind: BTreeMap<String, u64>,
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentiles {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
}

/// Where requests were served.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Spread {
    /// Requests per pod.
    pub(super) pods: BTreeMap<String, u64>,
    /// Requests of which nobody said where they were served.
    pub(super) unknown: u64,
    /// The busiest pod's requests by the mean of the pods that had any; 1 is even.
    pub(super) max_over_mean: Option<f64>,
}

/// What a run was about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) target: String,
    pub(super) profile: &'static str,
    pub(super) model: String,
}

impl Report {
    /// Draws the sum of a run that took `duration`.
    pub(super) fn new(subject: Subject, tally: &Tally, duration: Duration, finish: Finish) -> Self {
        let by_kind = tally.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect();
        Self {
            target: subject.target,
            profile: subject.profile,
            model: subject.model,
            requests: tally.served + tally.failed(),
            interrupted: finish == Finish::Interrupted,
            duration_seconds: duration.as_secs_f64(),
            errors: Errors { total: tally.failed(), by_kind },
            ttft_ms: Percentiles::of(&tally.ttft),
            latency_ms: Percentiles::of(&tally.latency),
            prompt_tokens: tally.prompt_tokens,
            completion_tokens: tally.completion_tokens,
            cached_token_share: tally
                .cached
                .and_then(|cached| share(cached.cached_tokens, cached.prompt_tokens)),
            spread: Spread::of(&tally.pods),
        }
    }
}

impl Percentiles {
    fn of(times: &Times) -> Option<Self> {
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

/// The quotient of two counts; none of nothing.
#[allow(clippy::cast_precision_loss)] // counts far below 2^53
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_over_the_pods_that_are_known() {
        let counts = BTreeMap::from([(Some("a".to_owned()), 3), (Some("b".to_owned()), 1), (None, 9)]);
        let spread = Spread::of(&counts);
        assert_eq!((spread.pods.len(), spread.unknown, spread.max_over_mean), (2, 9, Some(1.5)));
        assert_eq!(Spread::of(&BTreeMap::new()).max_over_mean, None);
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let subject = Subject { target: "t".into(), profile: "unique", model: "m".into() };
        let report = Report::new(subject, &Tally::new(), Duration::ZERO, Finish::Interrupted);
        let json = serde_json::to_value(report).unwrap();
        assert!(json["ttft_ms"].is_null() && json["cached_token_share"].is_null());
        assert_eq!(json["interrupted"], true);
        assert_eq!(json["errors"]["total"], 0);
    }
}
