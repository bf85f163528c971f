//! The filter that keeps endpoints within limits on their metrics.

use serde::{Deserialize, Serialize};
use signalbox_state::ScrapeStatus;

use crate::decision_inputs::DecisionInputs;
use crate::weighted::metric::Metric;

/// An upper limit on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Limited metric.
    pub metric: Metric,
    /// Maximum value, inclusive.
    pub max: f64,
}

/// What a filter keeps if no endpoint passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// No endpoint: the request is refused.
    KeepNone,
    /// All endpoints.
    KeepAll,
}

/// Keeps the endpoints within all limits. A missing value does not count as idle: an endpoint that does not
/// report a value is kept only if no endpoint is known to be within the limits. An endpoint that was not
/// scraped yet is kept, so that the first scraped endpoint does not get all requests.
pub(super) fn retain_within(
    inputs: &DecisionInputs<'_>,
    limits: &[Limit],
    fallback: Fallback,
    from: &[usize],
    into: &mut Vec<usize>,
) {
    let is_within = |limit: &Limit, at: usize| match limit.metric.value(inputs, at) {
        Some(value) => Some(value <= limit.max),
        None => (inputs.endpoint(at).observed.scrape_status == ScrapeStatus::Unknown).then_some(true),
    };
    let is_surely_within = |at: &usize| limits.iter().all(|limit| is_within(limit, *at) == Some(true));
    let may_be_within = |at: &usize| limits.iter().all(|limit| is_within(limit, *at) != Some(false));
    into.extend(from.iter().copied().filter(is_surely_within));
    if into.is_empty() {
        into.extend(from.iter().copied().filter(may_be_within));
    }
    if into.is_empty() && fallback == Fallback::KeepAll {
        into.extend_from_slice(from);
    }
}
