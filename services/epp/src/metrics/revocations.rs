//! Metrics of revoked requests under the Go EPP's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::bounded_labels::{BoundedLabels, Service};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PriorityLabel {
    priority: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Metrics of requests in flight that gave up their places.
#[derive(Debug, Default)]
pub(crate) struct RevocationMetrics {
    priorities: BoundedLabels<1>,
    issued: Family<PriorityLabel, Counter>,
    total: Family<OutcomeLabel, Counter>,
}

impl RevocationMetrics {
    /// Registers the metrics at `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "llm_d_epp_flow_control_revocations_issued",
            "Requests in flight that gave up their places to more important ones, by priority",
            metrics.issued.clone(),
        );
        registry.register(
            "llm_d_epp_flow_control_revocations",
            "Requests in flight that gave up their places, once the gateway has taken the answer (confirmed)",
            metrics.total.clone(),
        );
        metrics
    }

    /// Counts a request of `priority` that gives up its place.
    pub(crate) fn count_issued(&self, priority: i32) {
        let [priority] = self.priorities.labels([&priority.to_string()], Service::Served);
        self.issued.get_or_create(&PriorityLabel { priority }).inc();
    }

    /// Counts such a request whose answer the gateway has taken.
    pub(crate) fn count_confirmed(&self) {
        self.total.get_or_create(&OutcomeLabel { outcome: "confirmed" }).inc();
    }
}
