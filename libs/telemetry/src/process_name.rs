//! The default name of a process.

/// Returns the host name with the process ID. In Kubernetes the host name is the pod's name; elsewhere
/// several processes of a service may share a host, so the process ID distinguishes them. `service` replaces
/// a missing host name.
pub fn process_name(service: &str) -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| service.to_owned());
    format!("{host}-{}", std::process::id())
}
