//! The Envoy configuration to use with EPP replicas.

use std::net::SocketAddr;

/// An Envoy configuration that asks the EPP replicas at `epps` where each request goes.
pub(super) fn config(epps: &[SocketAddr]) -> String {
    let replica = |epp: &SocketAddr| {
        let (ip, port) = (epp.ip(), epp.port());
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }} }}\n"
        )
    };
    include_str!("envoy.yaml")
        .replace("        # EPP_REPLICAS\n", &epps.iter().map(replica).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_is_an_endpoint_of_the_cluster() {
        let config = config(&["127.0.0.1:9002".parse().unwrap(), "[::1]:9012".parse().unwrap()]);
        assert!(config.contains(r#"address: "127.0.0.1", port_value: 9002"#));
        assert!(config.contains(r#"address: "::1", port_value: 9012"#));
        assert!(!config.contains("EPP_REPLICAS"));
    }
}
