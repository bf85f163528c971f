//! What a process is called when nobody named it.

/// In Kubernetes the host's name is the pod's. Elsewhere several processes of a service may share a host, so the process id tells them
/// apart; `service` stands in for a host without a name.
pub fn process_name(service: &str) -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| service.to_owned());
    format!("{host}-{}", std::process::id())
}
