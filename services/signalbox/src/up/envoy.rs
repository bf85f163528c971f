//! Envoy in front of EPP replicas: its configuration, and one that is started here.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::gateway::Dialling;

/// What makes Envoy speak TLS with them, whatever certificate they show.
const TLS: &str = r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
"#;

/// How long Envoy may take to listen, and between two looks whether it does.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An Envoy that ends with this process.
#[derive(Debug)]
pub(super) struct Envoy {
    process: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its configuration.
    pub(super) file: PathBuf,
}

impl Envoy {
    /// Starts `binary` with [`config`], and waits until it listens at `listen`, or at a free port where that has none.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen.
    pub(super) async fn start(
        binary: &Path,
        listen: SocketAddr,
        epps: &[SocketAddr],
        dialling: Dialling,
    ) -> anyhow::Result<Self> {
        // Envoy does not say in time which free port it took, so that it is told one.
        let free = TcpListener::bind(listen).await.with_context(|| format!("--gateway-listen {listen}"))?;
        let address = free.local_addr()?;
        drop(free);
        let file = std::env::temp_dir().join(format!("signalbox-envoy-{}.yaml", std::process::id()));
        fs::write(&file, config(address, epps, dialling))
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
                let what = binary.display();
                bail!(
                    "{what} does not start: {error}; install Envoy, name it by --envoy FILE, or take --gateway embedded"
                );
            }
        };
        let mut envoy = Self { process, address, file };
        envoy.listens().await?;
        Ok(envoy)
    }

    async fn listens(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy ended ({status}); its configuration is {}", self.file.display());
            }
            if begun.elapsed() > LISTENS_WITHIN {
                bail!(
                    "Envoy does not listen at {}; its configuration is {}",
                    self.address,
                    self.file.display()
                );
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended already, and nobody else waits for it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.file);
    }
}

/// An Envoy configuration that listens at `listen` and asks the EPP replicas at `epps` where each request goes.
pub(super) fn config(listen: SocketAddr, epps: &[SocketAddr], dialling: Dialling) -> String {
    let replica = |epp: &SocketAddr| {
        let (ip, port) = (epp.ip(), epp.port());
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: \"{ip}\", port_value: {port} }} }} }}\n"
        )
    };
    let socket = if dialling == Dialling::Tls { TLS } else { "" };
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
    fn each_replica_is_an_endpoint_of_the_cluster() {
        let epps = ["127.0.0.1:9002".parse().unwrap(), "[::1]:9012".parse().unwrap()];
        let config = config(LISTEN.parse().unwrap(), &epps, Dialling::Plaintext);
        assert!(config.contains(r#"address: "127.0.0.1", port_value: 9002"#));
        assert!(config.contains(r#"address: "::1", port_value: 9012"#));
        assert!(!config.contains("EPP_") && !config.contains("transport_sockets"));
    }

    #[test]
    fn with_tls_the_cluster_speaks_it() {
        let config = config(LISTEN.parse().unwrap(), &["127.0.0.1:9002".parse().unwrap()], Dialling::Tls);
        let cluster = config.find("- name: epp\n").unwrap();
        assert!(config[cluster..].contains("UpstreamTlsContext") && !config.contains("EPP_"), "{config}");
    }
}
