//! Wiring: from a configuration and a pool to a running aggregator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use signalbox_protos::signalbox::v1::pool_server::PoolServer;
use signalbox_telemetry::{AdminServer, ListenError, listen, registry};
use signalbox_types::{PoolSpec, Version};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::actors::{Root, RootMessage, RootSetup};
use crate::config::AggregatorConfig;
use crate::endpoints_file::{self, ReadError};
use crate::metrics::Metrics;
use crate::serve::Desk;

/// How often the endpoints file is looked at.
const ENDPOINTS_FILE_EVERY: Duration = Duration::from_millis(250);

/// How long open streams may take to end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Why an aggregator cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The actors cannot start.
    #[error("the actors cannot start: {0}")]
    Actors(String),
    /// A listener broke at once.
    #[error("a port cannot be served")]
    Serve(#[from] std::io::Error),
}

/// Where the pool comes from.
#[derive(Debug)]
pub enum Source {
    /// A file, read already, that is read again when it changes.
    File(PathBuf, PoolSpec),
    /// A pool that stays as it is.
    Fixed(PoolSpec),
}

/// By which flags the ports are chosen, for messages.
#[derive(Clone, Copy, Debug)]
pub struct PortFlags {
    /// The port for collectors and replicas.
    pub listen: &'static str,
    /// The metrics port.
    pub metrics: &'static str,
}

/// A running aggregator.
#[derive(Debug)]
pub struct Aggregator {
    address: SocketAddr,
    admin: AdminServer,
    root: ActorRef<RootMessage>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    ended: watch::Receiver<bool>,
}

impl Aggregator {
    /// Starts an aggregator of the pool in `source`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: AggregatorConfig,
        source: Source,
        flags: PortFlags,
    ) -> Result<Self, StartError> {
        let listener = listen(config.listen, flags.listen).await?;
        let admin_listener = listen(config.metrics, flags.metrics).await?;
        let address = listener.local_addr()?;
        let mut metrics_shown = registry("aggregator");
        let metrics = Arc::new(Metrics::register(&mut metrics_shown));
        let specs = follow(source, Arc::clone(&metrics));
        let head = Arc::new(watch::Sender::new(Version::default()));
        let owner = Arc::new(watch::Sender::new(None));
        let desk = Desk::new(Arc::clone(&owner), Arc::clone(&head), Arc::clone(&metrics));
        let setup = RootSetup { config: config.pool, specs, head, metrics, owner };
        let (root, actors) =
            Actor::spawn(None, Root, setup).await.map_err(|error| StartError::Actors(error.to_string()))?;
        let (ending, ended) = watch::channel(false);
        tokio::spawn(async move {
            let _ = actors.await;
            ending.send_replace(true);
        });
        let admin = AdminServer::start(admin_listener, Arc::new(metrics_shown), axum::Router::new())?;
        let (stop, stopped) = oneshot::channel();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let served = Server::builder().add_service(PoolServer::new(desk)).serve_with_incoming_shutdown(
            incoming,
            async move {
                let _ = stopped.await;
            },
        );
        let server = tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "collectors and replicas are served no more");
            }
        });
        Ok(Self { address, admin, root, stop, server, ended })
    }

    /// Where collectors and replicas connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Prometheus reads.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Ends when the aggregator cannot go on.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Ends all streams and the actors.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.root.stop_and_wait(None, Some(STOP_GRACE)).await;
        let mut server = self.server;
        if tokio::time::timeout(STOP_GRACE, &mut server).await.is_err() {
            server.abort();
        }
        self.admin.stop();
    }
}

/// The pool as `source` has it, now and later.
fn follow(source: Source, metrics: Arc<Metrics>) -> watch::Receiver<PoolSpec> {
    metrics.endpoints_file_valid.set(1);
    match source {
        Source::Fixed(spec) => watch::channel(spec).1,
        Source::File(path, spec) => {
            let (specs, followed) = watch::channel(spec);
            let on_change = move |read: Result<PoolSpec, ReadError>| match read {
                Ok(spec) => {
                    metrics.endpoints_file_valid.set(1);
                    let endpoints = spec.endpoints.len();
                    let changes = |before: &mut PoolSpec| std::mem::replace(before, spec.clone()) != spec;
                    if specs.send_if_modified(changes) {
                        tracing::info!(endpoints, "endpoints file read again");
                    }
                }
                Err(error) => {
                    metrics.endpoints_file_valid.set(0);
                    metrics.endpoints_file_errors.inc();
                    tracing::error!(%error, "endpoints file refused, the last good one stays in use");
                }
            };
            tokio::spawn(endpoints_file::watch(path, ENDPOINTS_FILE_EVERY, on_change));
            followed
        }
    }
}
