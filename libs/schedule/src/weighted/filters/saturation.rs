//! The filter that removes saturated endpoints.

use serde::{Deserialize, Serialize};
use signalbox_state::ScrapeStatus;

use crate::decision_inputs::DecisionInputs;
use crate::weighted::metric::Metric;

/// Thresholds from which on an endpoint is saturated, by its own metrics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// Number of waiting requests at which an endpoint is saturated.
    pub queue_depth: f64,
    /// Share of the KV cache in use at which an endpoint is saturated, 0 to 1.
    pub kv_used: f64,
    /// Fraction by which both thresholds are raised for single endpoints.
    pub headroom: f64,
}

impl Saturation {
    /// Keeps the endpoints with fresh values below both thresholds; all, if there are none.
    pub(super) fn retain(&self, inputs: &DecisionInputs<'_>, from: &[usize], into: &mut Vec<usize>) {
        let factor = 1.0 + self.headroom;
        let below = |metric: Metric, at: usize, threshold: f64| {
            metric.value(inputs, at).is_some_and(|value| value < threshold * factor)
        };
        let has_room = |at: &usize| {
            inputs.endpoint(*at).observed.scrape_status == ScrapeStatus::Fresh
                && below(Metric::WaitingQueue, *at, self.queue_depth)
                && below(Metric::KvCacheUtilization, *at, self.kv_used)
        };
        into.extend(from.iter().copied().filter(has_room));
        if into.is_empty() {
            into.extend_from_slice(from);
        }
    }
}
