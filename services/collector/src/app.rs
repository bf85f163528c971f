//! Starting and stopping a collector.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use ractor::{Actor, ActorCell, SpawnErr};
use signalbox_lease::{Member, Role, Session, aggregators};
use signalbox_telemetry::{AdminServer, ListenError, listen, registry};

use crate::actors::{Root, Shared};
use crate::clock::Clock;
use crate::config::CollectorConfig;
use crate::link::HighestEpoch;
use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// Why a collector did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nobody to report to.
    #[error("no aggregator is given; name one with --aggregator, or a --coordinator that knows them")]
    NoAggregator,
    /// The port of its metrics cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The port of its metrics cannot be served.
    #[error("the metrics port cannot be served: {0}")]
    Serve(#[from] std::io::Error),
    /// The actors did not start.
    #[error("the actors did not start: {0}")]
    Actors(#[from] SpawnErr),
}

/// The collector service.
#[derive(Debug)]
pub struct Collector;

impl Collector {
    /// Starts a collector in this process; several can run side by side. It keeps trying until an aggregator is there.
    /// `port_flag` is the flag that chooses the metrics port, for messages.
    ///
    /// # Errors
    /// [`StartError`] when a port is taken, or nothing is given to report to.
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
        tracing::info!(name = config.name, metrics = %admin.address(), "the collector runs");
        let (clock, outbox, epoch) = (Clock::start(), Outbox::default(), HighestEpoch::default());
        let session = config.coordinator.as_ref().map(|coordinator| {
            let member = Member { role: Role::Collector, name: config.name.clone(), address: None };
            coordinator.join(member, config.lease_ttl)
        });
        let aggregators = aggregators(config.aggregators.clone(), config.coordinator.as_ref(), None);
        let shared = Arc::new(Shared { config, aggregators, clock, metrics, outbox, epoch });
        let (root, _) = Actor::spawn(None, Root, shared).await?;
        Ok(CollectorHandle { admin, root: root.get_cell(), session })
    }
}

/// A collector that runs. Dropped, it goes on to run.
#[derive(Debug)]
pub struct CollectorHandle {
    admin: AdminServer,
    root: ActorCell,
    session: Option<Session>,
}

impl CollectorHandle {
    /// Where its metrics are served.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Waits until it ends by itself, which means that it failed; the log says why.
    pub async fn ended(&self) {
        // Without a time limit there is no timeout to report.
        let _ = self.root.wait(None).await;
    }

    /// Stops reading and reporting, and closes its port and its stream.
    pub async fn shutdown(self) {
        self.root.stop(None);
        self.ended().await;
        if let Some(session) = &self.session {
            session.leave().await;
        }
        self.admin.stop();
    }
}
