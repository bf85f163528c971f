//! Starts and stops a collector.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use ractor::{Actor, ActorCell, SpawnErr};
use signalbox_lease::{Member, Role, Session, discover_aggregators};
use signalbox_telemetry::{AdminServer, ListenError, listen, registry};

use crate::actors::Root;
use crate::clock::Clock;
use crate::config::CollectorConfig;
use crate::highest_epoch::HighestEpoch;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::shared::Shared;

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
        let metrics = Arc::new(Metrics::default());
        let mut registry = registry("collector");
        metrics.register(&mut registry);
        let admin = AdminServer::start(listener, Arc::new(registry), Router::new())?;
        tracing::info!(name = config.name, metrics = %admin.address(), "collector ready");
        let (clock, outbox, highest_epoch) = (Clock::start(), Outbox::default(), HighestEpoch::default());
        let session = config.coordinator.as_ref().map(|coordinator| {
            let member = Member { role: Role::Collector, name: config.name.clone(), address: None };
            coordinator.join(member, config.lease_ttl)
        });
        let aggregators = discover_aggregators(config.aggregators.clone(), config.coordinator.as_ref(), None);
        let shared = Arc::new(Shared { config, aggregators, clock, metrics, outbox, highest_epoch });
        let (root, _) = Actor::spawn(None, Root, shared).await?;
        Ok(CollectorHandle { admin, root: root.get_cell(), session })
    }
}

/// A running collector. It continues to run after the handle is dropped.
#[derive(Debug)]
pub struct CollectorHandle {
    admin: AdminServer,
    root: ActorCell,
    session: Option<Session>,
}

impl CollectorHandle {
    /// Returns the address of the collector's own metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Waits until the collector ends by itself. That is a failure, and the log has its reason.
    pub async fn ended(&self) {
        // The wait has no time limit, so it cannot fail.
        let _ = self.root.wait(None).await;
    }

    /// Stops scraping and reporting, and closes the port and the stream.
    pub async fn shutdown(self) {
        self.root.stop(None);
        self.ended().await;
        if let Some(session) = &self.session {
            session.leave().await;
        }
        self.admin.stop();
    }
}
