//! Several pods in one process, each on a port of its own.

use std::collections::BTreeMap;
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
    config: FleetConfig,
    /// By index.
    servers: BTreeMap<u16, ModelServer>,
}

impl Fleet {
    /// Starts all pods. Must be called within a Tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// Fails when a port is in use or the configuration is invalid.
    pub async fn start(config: FleetConfig) -> Result<Self, FleetError> {
        let pods = config.pods;
        let mut fleet = Self { config, servers: BTreeMap::new() };
        for _ in 0..pods {
            fleet.add().await?;
        }
        Ok(fleet)
    }

    /// Starts one more pod, with the lowest index that no running pod has.
    ///
    /// # Errors
    /// Fails when its port is in use or the configuration is invalid.
    pub async fn add(&mut self) -> Result<&ModelServer, FleetError> {
        let index = (0..).find(|index| !self.servers.contains_key(index));
        let index = index.expect("there are fewer pods than ports");
        let mut pod = self.config.pod.clone();
        pod.name = format!("{}-{index}", pod.name);
        pod.model.seed = pod.model.seed.wrapping_add(u64::from(index));
        let address = pod_address(&self.config, index)?;
        let listener = TcpListener::bind(address).await.map_err(|source| FleetError::Listen {
            pod: pod.name.clone(),
            address,
            source,
        })?;
        Ok(self.servers.entry(index).or_insert(ModelServer::start(pod, listener)?))
    }

    /// Takes the pod with this name out of the fleet. It runs on; see [`ModelServer::stop`].
    pub fn take(&mut self, name: &str) -> Option<ModelServer> {
        let index = self.servers.iter().find_map(|(index, server)| (server.name() == name).then_some(*index));
        self.servers.remove(&index?)
    }

    /// Returns the pods in the order of their indexes.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &ModelServer> {
        self.servers.values()
    }

    /// Stops all pods concurrently (see [`ModelServer::stop`]).
    pub async fn stop(self, grace: Duration) {
        join_all(self.servers.into_values().map(|server| server.stop(grace))).await;
    }
}

fn pod_address(config: &FleetConfig, index: u16) -> Result<SocketAddr, FleetError> {
    let mut address = config.listen;
    if address.port() != 0 {
        let (first_port, pods) = (address.port(), config.pods.max(index.saturating_add(1)));
        address.set_port(first_port.checked_add(index).ok_or(FleetError::PortRange { first_port, pods })?);
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fleet: &Fleet) -> Vec<&str> {
        fleet.servers().map(ModelServer::name).collect()
    }

    #[tokio::test]
    async fn pod_that_is_added_has_the_lowest_free_index() {
        let pod = PodConfig { name: "sim".to_owned(), ..PodConfig::default() };
        let config = FleetConfig { listen: "127.0.0.1:0".parse().unwrap(), pods: 3, pod };
        let mut fleet = Fleet::start(config).await.unwrap();
        assert_eq!(["sim-0", "sim-1", "sim-2"], *names(&fleet));
        assert_eq!("sim-3", fleet.add().await.unwrap().name());
        assert!(fleet.take("sim-7").is_none());
        let taken = fleet.take("sim-1").unwrap();
        assert_eq!(["sim-0", "sim-2", "sim-3"], *names(&fleet));
        assert_eq!("sim-1", fleet.add().await.unwrap().name());
        taken.stop(Duration::ZERO).await;
        fleet.stop(Duration::ZERO).await;
    }
}
