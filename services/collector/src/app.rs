//! Starts and stops a collector.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use prometheus_client::metrics::gauge::Gauge;
use ractor::SpawnErr;
use signalbox_lease::{Member, Role, Session, discover_aggregators};
use signalbox_peers::{Connections, Fleet, FleetSettings, FollowedPools};
use signalbox_telemetry::{AdminServer, ListenError, Registries, listen, registry};
use signalbox_types::PeerAddress;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::collected_pools::{CollectedPools, Parts};
use crate::config::CollectorConfig;

/// Why a collector could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither aggregators nor a coordinator are configured.
    #[error("no aggregator is configured; give --aggregator, or --coordinator to discover them")]
    NoAggregator,
    /// The metrics port could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics port could not be served.
    #[error("cannot serve the metrics port: {0}")]
    Serve(#[from] std::io::Error),
    /// The actors could not start.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] SpawnErr),
}

/// The collector service.
#[derive(Debug)]
pub struct Collector;

impl Collector {
    /// Starts a collector. Several can run in one process. The connection to an aggregator is retried in the
    /// background. `port_flag` is the flag that chooses the metrics port, for error messages.
    ///
    /// # Errors
    /// [`StartError`] when a port is in use or no aggregator is configured.
    pub async fn start(
        config: CollectorConfig,
        port_flag: &'static str,
    ) -> Result<CollectorHandle, StartError> {
        if config.aggregators.is_empty() && config.coordinator.is_none() {
            return Err(StartError::NoAggregator);
        }
        let listener = listen(config.metrics_listen, port_flag).await?;
        let (mut registry, pools) = (registry("collector"), Gauge::default());
        registry.register("pools", "Pools that the collector scrapes for", pools.clone());
        let registries = Registries::new(registry);
        let admin = AdminServer::start(listener, registries.clone(), Router::new())?;
        tracing::info!(name = config.name, metrics = %admin.address(), "collector ready");
        let session = config.coordinator.as_ref().map(|coordinator| {
            let member = Member { role: Role::Collector, name: config.name.clone(), address: None };
            coordinator.join(member, config.lease_ttl)
        });
        let connections = Connections::new(config.security.clone());
        let (aggregators, fleet) = aggregators(&config, &connections);
        let (config, clock) = (Arc::new(config), Clock::start());
        let parts = Parts { config: Arc::clone(&config), aggregators, connections, clock, registries, pools };
        let mut pools = CollectedPools::new(parts);
        if let FollowedPools::One(name) = &config.pools {
            pools.start(name.as_deref()).await?;
        }
        let ((stop, stopped), (set_ended, ended)) = (oneshot::channel(), watch::channel(()));
        tokio::spawn(async move {
            let stopped = async {
                // Without a handle, nobody stops the collector.
                if stopped.await.is_err() {
                    std::future::pending().await
                }
            };
            pools.run(fleet, stopped).await;
            drop(set_ended);
        });
        Ok(CollectorHandle { admin, stop, ended, session })
    }
}

/// Returns the aggregators that are known at the moment, and, with all pools, the fleet.
fn aggregators(
    config: &CollectorConfig,
    connections: &Connections,
) -> (watch::Receiver<Vec<PeerAddress>>, Option<watch::Receiver<Fleet>>) {
    let settings = FleetSettings {
        name: config.name.clone(),
        aggregators: config.aggregators.clone(),
        connections: connections.clone(),
    };
    let discover = |given| discover_aggregators(given, config.coordinator.as_ref(), None);
    config.pools.watch_aggregators(settings, discover)
}

/// A running collector. It continues to run after the handle is dropped.
#[derive(Debug)]
pub struct CollectorHandle {
    admin: AdminServer,
    stop: oneshot::Sender<()>,
    /// Closed when the collector has ended.
    ended: watch::Receiver<()>,
    session: Option<Session>,
}

impl CollectorHandle {
    /// Returns the address of the collector's own metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Waits until the collector ends by itself. That is a failure, and the log has its reason.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Stops scraping and reporting, and closes the port and the stream.
    pub async fn shutdown(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let mut ended = self.ended;
        while ended.changed().await.is_ok() {}
        if let Some(session) = &self.session {
            session.leave().await;
        }
        self.admin.stop();
    }
}
