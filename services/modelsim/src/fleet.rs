//! Several pods in one process, each on a port of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;

use crate::config::PodConfig;
use crate::server::{ModelServer, StartError};

/// The pods to start.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetConfig {
    /// Address of the first pod. Each further pod listens one port higher; port 0 selects a free port for
    /// each.
    pub listen: SocketAddr,
    /// Number of pods.
    pub pods: u16,
    /// Configuration of each pod. Pod `i` gets the name `<name>-<i>` and the seed `seed + i`.
    pub pod: PodConfig,
}

/// Why a fleet did not start. Pods that had started are stopped.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A pod cannot listen on its address, most often because the port is in use.
    #[error("pod {pod} cannot listen on {address}: {source}")]
    Listen {
        /// Name of the pod.
        pod: String,
        /// Address of the pod.
        address: SocketAddr,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The last pod's port would exceed 65535.
    #[error("{pods} pods starting at port {first_port} need ports above 65535")]
    PortRange {
        /// Port of the first pod.
        first_port: u16,
        /// Number of pods.
        pods: u16,
    },
    /// A pod cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Running pods.
pub struct Fleet {
    servers: Vec<ModelServer>,
}

impl Fleet {
    /// Starts all pods. Must be called within a Tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// Fails when a port is in use or the configuration is invalid.
    pub async fn start(config: FleetConfig) -> Result<Self, FleetError> {
        let mut servers = Vec::with_capacity(usize::from(config.pods));
        for index in 0..config.pods {
            let mut pod = config.pod.clone();
            pod.name = format!("{}-{index}", pod.name);
            pod.model.seed = pod.model.seed.wrapping_add(u64::from(index));
            let address = pod_address(&config, index)?;
            let listener = TcpListener::bind(address).await.map_err(|source| FleetError::Listen {
                pod: pod.name.clone(),
                address,
                source,
            })?;
            servers.push(ModelServer::start(pod, listener)?);
        }
        Ok(Self { servers })
    }

    /// Returns the pods in order.
    #[must_use]
    pub fn servers(&self) -> &[ModelServer] {
        &self.servers
    }

    /// Stops all pods concurrently (see [`ModelServer::stop`]).
    pub async fn stop(self, grace: Duration) {
        join_all(self.servers.into_iter().map(|server| server.stop(grace))).await;
    }
}

fn pod_address(config: &FleetConfig, index: u16) -> Result<SocketAddr, FleetError> {
    let mut address = config.listen;
    if address.port() != 0 {
        let (first_port, pods) = (address.port(), config.pods);
        address.set_port(first_port.checked_add(index).ok_or(FleetError::PortRange { first_port, pods })?);
    }
    Ok(address)
}
