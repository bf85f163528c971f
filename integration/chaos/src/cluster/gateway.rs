//! Configures Envoy with the file `docs/envoy/retrying.yaml`.

use std::net::SocketAddr;

use crate::scenario::Mode;

/// The documented configuration, so that the tests run what users copy.
const DOCUMENT: &str = include_str!("../../../../docs/envoy/retrying.yaml");

/// The addresses of an EPP replica to which Envoy connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaAddresses {
    pub(crate) ext_proc: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) access_log: SocketAddr,
}

/// Returns the documented configuration with all placeholders replaced and the lines of the other mode
/// removed.
pub(crate) fn envoy_config(replicas: &[ReplicaAddresses], picking_port: u16, mode: Mode) -> String {
    let other = match mode {
        Mode::Default => "# request-only",
        Mode::RequestOnly => "# default",
    };
    let lines = DOCUMENT.lines().filter(|line| line.trim_start().starts_with('#') || !line.ends_with(other));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let hosts = |address: fn(&ReplicaAddresses) -> SocketAddr| {
        let hosts = replicas.iter().map(|replica| host(address(replica), replica.health));
        hosts.collect::<Vec<_>>().join(", ")
    };
    let values = [
        ("@GATEWAY_PORT@", "0".to_owned()),
        ("@PICKING_PORT@", picking_port.to_string()),
        ("@REPLICAS@", hosts(|replica| replica.ext_proc)),
        ("@ACCESS_LOGS@", hosts(|replica| replica.access_log)),
    ];
    values.iter().fold(text, |text, (name, value)| text.replace(name, value))
}

fn host(address: SocketAddr, health: SocketAddr) -> String {
    let (ip, port, health_port) = (address.ip(), address.port(), health.port());
    let address = format!("{{ socket_address: {{ address: {ip}, port_value: {port} }} }}");
    format!("{{ endpoint: {{ address: {address}, health_check_config: {{ port_value: {health_port} }} }} }}")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use signalbox_integration::{Envoy, TestDir};

    use super::{ReplicaAddresses, envoy_config};
    use crate::scenario::Mode;

    fn replica(first_port: u16) -> ReplicaAddresses {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        ReplicaAddresses {
            ext_proc: at(first_port),
            health: at(first_port + 1),
            access_log: at(first_port + 2),
        }
    }

    #[test]
    fn document_is_a_valid_configuration_in_both_modes() {
        let dir = TestDir::new().unwrap();
        for (mode, log_hosts) in [(Mode::Default, 0), (Mode::RequestOnly, 2)] {
            let text = envoy_config(&[replica(7_000), replica(8_000)], 9_000, mode);
            let settings = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            let settings: Vec<&str> = settings.collect();
            assert!(!settings.iter().any(|line| line.contains('@') && !line.contains("@type")), "{text}");
            let count = |what: &str| settings.iter().map(|line| line.matches(what).count()).sum::<usize>();
            assert_eq!(count("response_body_mode"), 1);
            assert_eq!(count("port_value: 9000"), 2);
            assert_eq!(count("port_value: 7000") + count("port_value: 8000"), 2);
            assert_eq!(count("port_value: 7002") + count("port_value: 8002"), log_hosts);
            Envoy::validate(&dir, &text).unwrap();
        }
    }
}
