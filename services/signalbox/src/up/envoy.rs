//! Generates an Envoy configuration for the EPP replicas and runs Envoy with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::gateway::PickerTransport;

/// Lets Envoy connect to the replicas over TLS without verification of their certificates.
const TLS_SOCKET: &str = r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
"#;

/// How long Envoy has until it listens.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two checks whether Envoy listens.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running Envoy. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Envoy {
    process: Child,
    /// Listen address.
    pub(super) address: SocketAddr,
    /// Path of its configuration file.
    pub(super) file: PathBuf,
}

impl Envoy {
    /// Starts `binary` with the configuration from [`config`] and waits until it listens. If the port of
    /// `listen` is 0, uses a free port.
    ///
    /// # Errors
    /// When Envoy cannot be started or does not listen in time.
    pub(super) async fn start(
        binary: &Path,
        listen: SocketAddr,
        epps: &[SocketAddr],
        transport: PickerTransport,
    ) -> anyhow::Result<Self> {
        // Envoy cannot report the port that it got for port 0, so a free port is chosen here.
        let free = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot bind {listen}; choose another address with --gateway-listen"))?;
        let address = free.local_addr()?;
        drop(free);
        let file = std::env::temp_dir().join(format!("signalbox-envoy-{}.yaml", std::process::id()));
        fs::write(&file, config(address, epps, transport))
            .with_context(|| format!("cannot write {}", file.display()))?;
        let process = Command::new(binary)
            .args(["--disable-hot-restart", "--log-level", "warning", "--config-path"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                let _ = fs::remove_file(&file);
                let binary = binary.display();
                bail!(
                    "cannot start {binary}: {error}; install Envoy, set its path with --envoy FILE, or use --gateway embedded"
                );
            }
        };
        let mut envoy = Self { process, address, file };
        envoy.wait_until_listening().await?;
        Ok(envoy)
    }

    async fn wait_until_listening(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy exited with {status}; check its configuration {}", self.file.display());
            }
            if started.elapsed() > STARTUP_TIMEOUT {
                bail!(
                    "Envoy does not listen on {}; check its configuration {}",
                    self.address,
                    self.file.display()
                );
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Envoy may have exited already. It must be waited for in either case.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.file);
    }
}

/// Returns an Envoy configuration that listens on `listen` and uses the EPP replicas at `epps`.
pub(super) fn config(listen: SocketAddr, epps: &[SocketAddr], transport: PickerTransport) -> String {
    let replica = |epp: &SocketAddr| {
        let (ip, port) = (epp.ip(), epp.port());
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }} }}\n"
        )
    };
    let socket = if transport == PickerTransport::Tls { TLS_SOCKET } else { "" };
    include_str!("envoy.yaml")
        .replace("GATEWAY_IP", &listen.ip().to_string())
        .replace("GATEWAY_PORT", &listen.port().to_string())
        .replace("    # EPP_TLS\n", socket)
        .replace("        # EPP_REPLICAS\n", &epps.iter().map(replica).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTEN: &str = "127.0.0.1:8080";

    #[test]
    fn each_replica_is_an_endpoint_of_the_epp_cluster() {
        let epps = ["127.0.0.1:9002".parse().unwrap(), "[::1]:9012".parse().unwrap()];
        let config = config(LISTEN.parse().unwrap(), &epps, PickerTransport::Plaintext);
        assert!(config.contains(r#"address: "127.0.0.1", port_value: 9002"#));
        assert!(config.contains(r#"address: "::1", port_value: 9012"#));
        assert!(!config.contains("EPP_") && !config.contains("transport_sockets"));
    }

    #[test]
    fn the_epp_cluster_uses_tls_if_requested() {
        let config =
            config(LISTEN.parse().unwrap(), &["127.0.0.1:9002".parse().unwrap()], PickerTransport::Tls);
        let cluster = config.find("- name: epp\n").unwrap();
        assert!(config[cluster..].contains("UpstreamTlsContext") && !config.contains("EPP_"), "{config}");
    }
}
