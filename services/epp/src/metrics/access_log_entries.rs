//! Counts what gateways' access logs report.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Access log entries by outcome: of one pool, or those that belong to none.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessLogEntries(Family<OutcomeLabel, Counter>);

impl AccessLogEntries {
    /// Registers the counters at `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "access_log_entries",
            "Request ends from gateways' access logs or relayed by other replicas, by outcome",
            self.0.clone(),
        );
    }

    /// Counts an entry with its outcome.
    pub(crate) fn count(&self, outcome: &'static str) {
        self.0.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
