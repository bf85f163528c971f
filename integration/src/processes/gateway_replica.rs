//! Reads what Envoy knows about the EPP replicas.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::Value;

/// The name of the cluster of EPP replicas in Envoy's configuration.
const CLUSTER: &str = "epp";

/// What Envoy knows about one EPP replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayReplica {
    /// Whether its latest health check succeeded.
    pub is_healthy: bool,
    /// The number of open ext-proc streams through it.
    pub open_streams: u64,
}

/// Reads the replicas from Envoy's page `/clusters?format=json`, by address.
///
/// # Errors
/// Fails when the page has no replicas, or lacks the health or the address of one.
pub(super) fn gateway_replicas(page: &Value) -> anyhow::Result<BTreeMap<SocketAddr, GatewayReplica>> {
    let mut clusters = page["cluster_statuses"].as_array().into_iter().flatten();
    let cluster = clusters
        .find(|cluster| cluster["name"] == CLUSTER)
        .with_context(|| format!("Envoy has no cluster {CLUSTER}"))?;
    let hosts = cluster["host_statuses"].as_array().into_iter().flatten();
    let replicas: BTreeMap<_, _> = hosts.map(gateway_replica).collect::<anyhow::Result<_>>()?;
    ensure!(!replicas.is_empty(), "the cluster {CLUSTER} of Envoy has no hosts");
    Ok(replicas)
}

/// Reads one host. Envoy leaves out fields whose value is false or zero, but not the messages around them.
fn gateway_replica(host: &Value) -> anyhow::Result<(SocketAddr, GatewayReplica)> {
    let socket = &host["address"]["socket_address"];
    let ip = socket["address"].as_str().context("a host of Envoy has no IP address")?;
    let port = socket["port_value"].as_u64().context("a host of Envoy has no port")?;
    let address = SocketAddr::new(ip.parse()?, u16::try_from(port)?);
    let health = host["health_status"].as_object().with_context(|| format!("{address} has no health"))?;
    let is_failing = health.get("failed_active_health_check").and_then(Value::as_bool).unwrap_or(false);
    let mut stats = host["stats"].as_array().into_iter().flatten();
    let active = stats
        .find(|stat| stat["name"] == "rq_active")
        .with_context(|| format!("{address} has no rq_active"))?;
    // Envoy writes 64-bit numbers as text.
    let open_streams = active["value"].as_str().map_or(Ok(0), str::parse)?;
    Ok((address, GatewayReplica { is_healthy: !is_failing, open_streams }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{GatewayReplica, gateway_replicas};

    fn page(host: &Value) -> Value {
        json!({ "cluster_statuses": [{ "name": "other" }, { "name": "epp", "host_statuses": [host] }] })
    }

    fn host() -> Value {
        json!({
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 7000 } },
            "stats": [{ "name": "rq_total", "value": "9" }, { "name": "rq_active", "type": "GAUGE", "value": "3" }],
            "health_status": { "eds_health_status": "HEALTHY" },
        })
    }

    #[test]
    fn health_and_open_streams_are_read() {
        let replicas = gateway_replicas(&page(&host())).unwrap();
        let expected = GatewayReplica { is_healthy: true, open_streams: 3 };
        assert_eq!(replicas["127.0.0.1:7000".parse().as_ref().unwrap()], expected);
        let mut failing = host();
        failing["health_status"]["failed_active_health_check"] = true.into();
        failing["stats"][1] = json!({ "name": "rq_active", "type": "GAUGE" });
        let replicas = gateway_replicas(&page(&failing)).unwrap();
        let expected = GatewayReplica { is_healthy: false, open_streams: 0 };
        assert_eq!(replicas.into_values().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn missing_values_are_errors() {
        for field in ["address", "stats", "health_status"] {
            let mut incomplete = host();
            incomplete.as_object_mut().unwrap().remove(field);
            assert!(gateway_replicas(&page(&incomplete)).is_err(), "{field}");
        }
        assert!(gateway_replicas(&json!({ "cluster_statuses": [] })).is_err());
    }
}
