//! The Envoy configuration to use with EPP replicas.

use std::net::SocketAddr;

use crate::gateway::Dialling;

/// What makes Envoy speak TLS with them, whatever certificate they show.
const TLS: &str = r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
"#;

/// An Envoy configuration that asks the EPP replicas at `epps` where each request goes.
pub(super) fn config(epps: &[SocketAddr], dialling: Dialling) -> String {
    let replica = |epp: &SocketAddr| {
        let (ip, port) = (epp.ip(), epp.port());
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }} }}\n"
        )
    };
    let socket = if dialling == Dialling::Tls { TLS } else { "" };
    include_str!("envoy.yaml")
        .replace("    # EPP_TLS\n", socket)
        .replace("        # EPP_REPLICAS\n", &epps.iter().map(replica).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_is_an_endpoint_of_the_cluster() {
        let epps = ["127.0.0.1:9002".parse().unwrap(), "[::1]:9012".parse().unwrap()];
        let config = config(&epps, Dialling::Plaintext);
        assert!(config.contains(r#"address: "127.0.0.1", port_value: 9002"#));
        assert!(config.contains(r#"address: "::1", port_value: 9012"#));
        assert!(!config.contains("EPP_") && !config.contains("transport_sockets"));
    }

    #[test]
    fn with_tls_the_cluster_speaks_it() {
        let config = config(&["127.0.0.1:9002".parse().unwrap()], Dialling::Tls);
        let cluster = config.find("- name: epp\n").unwrap();
        assert!(config[cluster..].contains("UpstreamTlsContext") && !config.contains("EPP_"), "{config}");
    }
}
