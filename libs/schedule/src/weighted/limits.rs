//! Filters that go by how busy an endpoint is.

use serde::{Deserialize, Serialize};
use signalbox_state::ScrapeStatus;
use signalbox_types::PPM;

use crate::decision_inputs::DecisionInputs;

/// A number that an endpoint is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Requests that replicas gave it and that have not ended.
    ActiveRequests,
    /// Requests that it works on, as it says.
    RunningRequests,
    /// Requests that wait there, as it says.
    WaitingQueue,
    /// Share of its KV cache in use, 0 to 1, as it says.
    KvCacheUtilization,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 4] =
        [Self::ActiveRequests, Self::RunningRequests, Self::WaitingQueue, Self::KvCacheUtilization];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActiveRequests => "active-requests",
            Self::RunningRequests => "running-requests",
            Self::WaitingQueue => "waiting-queue",
            Self::KvCacheUtilization => "kv-cache-utilization",
        }
    }

    /// Its value at `position`; `None` where the endpoint does not tell, or was never read.
    pub(super) fn at(self, inputs: &DecisionInputs<'_>, position: usize) -> Option<f64> {
        if self == Self::ActiveRequests {
            return Some(f64::from(inputs.load(position).requests));
        }
        let observed = &inputs.member(position).observed;
        if observed.scrape_status == ScrapeStatus::Unknown {
            return None;
        }
        match self {
            Self::RunningRequests => Some(f64::from(observed.gauges.running)),
            Self::KvCacheUtilization => {
                observed.gauges.kv_used_ppm.map(|used| f64::from(used) / f64::from(PPM))
            }
            Self::ActiveRequests | Self::WaitingQueue => Some(f64::from(observed.gauges.waiting)),
        }
    }
}

/// The most that a metric may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Of what.
    pub metric: Metric,
    /// The most, itself allowed.
    pub max: f64,
}

/// What is left when a filter would leave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenNone {
    /// Nothing: the request is refused.
    None,
    /// Everything.
    All,
}

/// Keeps the endpoints within all limits. Unknown is not idle: one that does not tell a value is kept only where none is within
/// the limits for sure. One that nobody has read yet is kept, lest the first that is read get everything.
pub(super) fn within(
    inputs: &DecisionInputs<'_>,
    limits: &[Limit],
    when_none: WhenNone,
    from: &[usize],
    into: &mut Vec<usize>,
) {
    let is_within = |limit: &Limit, at: usize| match limit.metric.at(inputs, at) {
        Some(value) => Some(value <= limit.max),
        None => (inputs.member(at).observed.scrape_status == ScrapeStatus::Unknown).then_some(true),
    };
    let surely = |at: &usize| limits.iter().all(|limit| is_within(limit, *at) == Some(true));
    let perhaps = |at: &usize| limits.iter().all(|limit| is_within(limit, *at) != Some(false));
    into.extend(from.iter().copied().filter(surely));
    if into.is_empty() {
        into.extend(from.iter().copied().filter(perhaps));
    }
    if into.is_empty() && when_none == WhenNone::All {
        into.extend_from_slice(from);
    }
}

/// Where an endpoint has no room for more, by its own metrics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// Waiting requests from which on it has none.
    pub queue_depth: f64,
    /// Share of the KV cache in use, 0 to 1, from which on it has none.
    pub kv_used: f64,
    /// By how much of itself each threshold is raised for single endpoints.
    pub headroom: f64,
}

impl Saturation {
    /// Keeps the endpoints that are read and below both thresholds; all, where none is.
    pub(super) fn retain(&self, inputs: &DecisionInputs<'_>, from: &[usize], into: &mut Vec<usize>) {
        let factor = 1.0 + self.headroom;
        let below = |metric: Metric, at: usize, threshold: f64| {
            metric.at(inputs, at).is_some_and(|value| value < threshold * factor)
        };
        let has_room = |at: &usize| {
            inputs.member(*at).observed.scrape_status == ScrapeStatus::Fresh
                && below(Metric::WaitingQueue, *at, self.queue_depth)
                && below(Metric::KvCacheUtilization, *at, self.kv_used)
        };
        into.extend(from.iter().copied().filter(has_room));
        if into.is_empty() {
            into.extend_from_slice(from);
        }
    }
}

/// How much an endpoint may have in flight from all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Requests; `None` where they do not count.
    pub requests: Option<f64>,
    /// Uncached prompt tokens; `None` where they do not count.
    pub tokens: Option<f64>,
    /// By how much of itself each limit is raised for single endpoints.
    pub headroom: f64,
}

impl Concurrency {
    /// Keeps the endpoints that have less in flight.
    pub(super) fn retain(&self, inputs: &DecisionInputs<'_>, from: &[usize], into: &mut Vec<usize>) {
        let factor = 1.0 + self.headroom;
        let below = |value: f64, limit: Option<f64>| limit.is_none_or(|limit| value < limit * factor);
        into.extend(from.iter().copied().filter(|at| {
            let load = inputs.load(*at);
            below(f64::from(load.requests), self.requests) && below(load.prefill_tokens as f64, self.tokens)
        }));
    }
}
