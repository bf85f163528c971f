//! Metrics of reading the pools from Kubernetes.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use signalbox_kube::PoolWatchObserver;

use super::UintGauge;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RejectionLabel {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

type NoLabels = [(&'static str, &'static str); 0];

/// Metrics of reading the pools from Kubernetes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolWatchMetrics {
    objects_rejected: Family<RejectionLabel, Counter>,
    watch_errors: Family<ResourceLabel, Counter>,
    /// Without a series until the API server answers for the first time.
    last_contact: Family<NoLabels, UintGauge>,
}

impl PoolWatchMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "objects_rejected",
            "Kubernetes objects that were left out wholly or in part; an Event on the object says why",
            metrics.objects_rejected.clone(),
        );
        registry.register(
            "watch_errors",
            "Lists and watches of Kubernetes objects that failed and were repeated",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "last_contact_timestamp_seconds",
            "When the Kubernetes API server last answered, in seconds since the Unix epoch",
            metrics.last_contact.clone(),
        );
        metrics
    }
}

impl PoolWatchObserver for PoolWatchMetrics {
    fn object_rejected(&self, kind: &'static str, reason: &'static str) {
        self.objects_rejected.get_or_create(&RejectionLabel { kind, reason }).inc();
    }

    fn watch_failed(&self, resource: &'static str) {
        self.watch_errors.get_or_create(&ResourceLabel { resource }).inc();
    }

    fn contacted(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last_contact.get_or_create(&[]).set(now);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn series_appear_with_what_they_count() {
        let mut registry = Registry::default();
        let metrics = PoolWatchMetrics::register(&mut registry);
        let lines = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(0, lines().len());
        metrics.object_rejected("InferencePool", "PortTaken");
        metrics.watch_failed("pods");
        metrics.contacted();
        let lines = lines().join("\n");
        assert!(
            lines.contains("objects_rejected_total{kind=\"InferencePool\",reason=\"PortTaken\"} 1"),
            "{lines}"
        );
        assert!(lines.contains("watch_errors_total{resource=\"pods\"} 1"), "{lines}");
        assert!(
            lines.contains("last_contact_timestamp_seconds{} ")
                || lines.contains("last_contact_timestamp_seconds "),
            "{lines}"
        );
    }
}
