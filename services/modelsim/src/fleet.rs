//! Several pods in one process, a port each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;

use crate::config::PodConfig;
use crate::server::{ModelServer, StartError};

/// Which pods to start.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetConfig {
    /// Address of the first pod; each further one listens a port higher. Port 0: any free port for each.
    pub listen: SocketAddr,
    /// How many.
    pub pods: u16,
    /// What each is like. Pod `i` is named `<name>-<i>` and seeded with `seed + i`.
    pub pod: PodConfig,
}

/// A fleet that did not start. Pods that had started are gone again.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// An address that cannot be listened on, most often because the port is taken.
    #[error("pod {pod} cannot listen on {address}: {source}")]
    Listen {
        /// The pod's name.
        pod: String,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The last pod's port would exceed 65535.
    #[error("{pods} pods from port {first_port} on need ports above 65535")]
    PortRange {
        /// Port of the first pod.
        first_port: u16,
        /// How many pods.
        pods: u16,
    },
    /// A pod that cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Running pods.
pub struct Fleet {
    servers: Vec<ModelServer>,
}

impl Fleet {
    /// Starts all pods. Must be called within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// When a port is taken or the configuration makes no sense.
    pub async fn start(config: FleetConfig) -> Result<Self, FleetError> {
        let mut servers = Vec::with_capacity(usize::from(config.pods));
        for index in 0..config.pods {
            let mut pod = config.pod.clone();
            pod.name = format!("{}-{index}", pod.name);
            pod.model.seed = pod.model.seed.wrapping_add(u64::from(index));
            let address = address_of(&config, index)?;
            let listener = TcpListener::bind(address).await.map_err(|source| FleetError::Listen {
                pod: pod.name.clone(),
                address,
                source,
            })?;
            servers.push(ModelServer::start(pod, listener)?);
        }
        Ok(Self { servers })
    }

    /// The pods, in order.
    #[must_use]
    pub fn servers(&self) -> &[ModelServer] {
        &self.servers
    }

    /// Stops all pods at the same time (see [`ModelServer::stop`]).
    pub async fn stop(self, grace: Duration) {
        join_all(self.servers.into_iter().map(|server| server.stop(grace))).await;
    }
}

fn address_of(config: &FleetConfig, index: u16) -> Result<SocketAddr, FleetError> {
    let mut address = config.listen;
    if address.port() != 0 {
        let (first_port, pods) = (address.port(), config.pods);
        address.set_port(first_port.checked_add(index).ok_or(FleetError::PortRange { first_port, pods })?);
    }
    Ok(address)
}
