//! Metrics of the coordinator.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use signalbox_lease::Coordinator;

/// Reads what the coordinator counts when metrics are collected.
#[derive(Debug)]
struct CoordinatorCollector(Coordinator);

/// Adds the metrics of `coordinator` to `registry`.
pub(crate) fn register_coordinator(registry: &mut Registry, coordinator: &Coordinator) {
    registry.register_collector(Box::new(CoordinatorCollector(coordinator.clone())));
}

impl Collector for CoordinatorCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let writes = ConstCounter::new(self.0.api_writes());
        let encoder = encoder.encode_descriptor(
            "coordinator_writes",
            "Writes of Leases to the Kubernetes API server, also those that failed; 0 with another coordinator",
            None,
            writes.metric_type(),
        )?;
        writes.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use signalbox_kube::{Cluster, ClusterSettings};
    use signalbox_lease::{KubernetesSettings, Member, Role};

    use super::*;

    #[tokio::test]
    async fn writes_are_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
                    clusters: [{ name: c, cluster: { server: 'http://127.0.0.1:1' } }]\n\
                    users: [{ name: u, user: {} }]\n\
                    contexts: [{ name: x, context: { cluster: c, user: u } }]\n";
        std::fs::write(file.path(), text).unwrap();
        let settings = ClusterSettings { kubeconfig: Some(file.path().to_owned()) };
        let cluster = Cluster::connect(&settings).await.unwrap();
        let (namespace, installation) = ("n".to_owned(), "signalbox".to_owned());
        let coordinator = Coordinator::kubernetes(KubernetesSettings { cluster, namespace, installation });
        let mut registry = signalbox_telemetry::registry("aggregator");
        register_coordinator(&mut registry, &coordinator);
        let line = |count: u64| {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            let line = format!("signalbox_aggregator_coordinator_writes_total {count}");
            assert!(text.lines().any(|found| found == line), "{text}");
        };
        assert_eq!(0, coordinator.api_writes());
        line(0);
        let member = Member { role: Role::Aggregator, name: "a".to_owned(), address: None };
        let session = coordinator.join(member, Duration::from_secs(6));
        session.leave().await;
        line(coordinator.api_writes());
    }
}
