//! Metrics of flow control under the Go EPP's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use signalbox_flow::DropReason;
use signalbox_types::Request;

use super::bounded_labels::{BoundedLabels, Service};

/// Bounds of the time in the queue, in seconds, as in the Go EPP.
const WAIT_BOUNDS_S: [f64; 16] =
    [1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
    priority: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FlowLabels {
    fairness_id: String,
    priority: String,
    outcome: &'static str,
}

/// How a request passed flow control, as counted when its stream ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlowSummary {
    pub(crate) priority: i32,
    /// Empty if the client names neither a fairness id nor an objective.
    pub(crate) fairness_id: String,
    /// How long the request waited for a place.
    pub(crate) waited: Duration,
    /// The Go EPP's name for how it ended; empty if it was refused for another reason.
    pub(crate) outcome: &'static str,
}

impl FlowSummary {
    /// Returns the summary of a request that has just arrived.
    pub(crate) fn of(request: &Request) -> Self {
        let fairness_id = request.flow.clone().unwrap_or_default();
        Self { priority: request.priority, fairness_id, ..Self::default() }
    }
}

/// Returns the outcome of a request that could not wait.
pub(crate) fn rejected(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Saturated => "RejectedCapacity",
        DropReason::NoEndpoints => "RejectedNoEndpoints",
        DropReason::Expired | DropReason::Cancelled | DropReason::ShuttingDown | DropReason::Revoked => {
            "RejectedOther"
        }
    }
}

/// Returns the outcome of a request that waited in vain.
pub(crate) fn evicted(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Expired => "EvictedTTL",
        DropReason::NoEndpoints => "EvictedNoEndpoints",
        DropReason::Cancelled => "EvictedContextCancelled",
        DropReason::Saturated | DropReason::ShuttingDown | DropReason::Revoked => "EvictedOther",
    }
}

/// Metrics of requests that passed flow control, or did not.
#[derive(Debug)]
pub(crate) struct FlowMetrics {
    priorities: BoundedLabels<1>,
    /// The fairness id and the priority.
    flows: BoundedLabels<2>,
    total: Family<OutcomeLabels, Counter>,
    waits: Family<FlowLabels, Histogram, fn() -> Histogram>,
}

impl FlowMetrics {
    /// Registers the metrics at `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            priorities: BoundedLabels::default(),
            flows: BoundedLabels::default(),
            total: Family::default(),
            waits: Family::new_with_constructor(|| Histogram::new(WAIT_BOUNDS_S)),
        };
        registry.register(
            "llm_d_epp_flow_control_requests",
            "Requests by how they passed flow control and by priority",
            metrics.total.clone(),
        );
        registry.register(
            "llm_d_epp_flow_control_request_queue_duration_seconds",
            "Time that requests waited for a place, by flow and how the wait ended; 0 for those that went at once",
            metrics.waits.clone(),
        );
        metrics
    }

    /// Counts a request whose stream has ended.
    pub(super) fn count(&self, request: &FlowSummary, service: Service) {
        if request.outcome.is_empty() {
            return;
        }
        let (priority, outcome) = (request.priority.to_string(), request.outcome);
        let [bounded_priority] = self.priorities.labels([&priority], service);
        self.total.get_or_create(&OutcomeLabels { outcome, priority: bounded_priority }).inc();
        let [fairness_id, priority] = self.flows.labels([&request.fairness_id, &priority], service);
        let labels = FlowLabels { fairness_id, priority, outcome };
        self.waits.get_or_create(&labels).observe(request.waited.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn requests_are_counted_by_outcome_and_flow() {
        let mut registry = Registry::default();
        let metrics = FlowMetrics::register(&mut registry);
        let request = FlowSummary { priority: -3, fairness_id: "team".to_owned(), ..FlowSummary::default() };
        metrics.count(&request, Service::Served);
        metrics.count(&FlowSummary { outcome: evicted(DropReason::Expired), ..request }, Service::Unserved);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        let total = "llm_d_epp_flow_control_requests_total{outcome=\"EvictedTTL\",priority=\"-3\"} 1";
        assert!(page.contains(total), "{page}");
        assert!(page.contains("fairness_id=\"team\"") && !page.contains("outcome=\"\""), "{page}");
    }
}
