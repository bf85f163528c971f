//! Starts and stops an aggregator.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use signalbox_lease::{Coordinator, Member, Role, Session, discover_aggregators};
use signalbox_peers::FollowedPool;
use signalbox_protos::signalbox::v1::pool_server::PoolServer;
use signalbox_state::{PoolRoleConfig, RoleStatus};
use signalbox_telemetry::{AdminServer, ListenError, listen, registry};
use signalbox_tls::{Connection, ExposedListener};
use signalbox_types::{EndpointKey, PeerAddress, PoolId};
use signalbox_wire::Hello;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::actors::{Membership, OwnerHistory, PoolOwnerSetup, Root, RootMessage};
use crate::config::AggregatorConfig;
use crate::metrics::Metrics;
use crate::pool_source::{PoolSource, watch_pool};
use crate::pools::{PoolHandle, Pools};
use crate::serve::StreamContext;

/// Time limit for handing the pools to other aggregators.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum size of a received message: a batch of placements, or a frame that a follower offers.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Time limit for open streams to end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Why an aggregator could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The actors could not start.
    #[error("cannot start the actors: {0}")]
    Actors(String),
    /// Two endpoints files name the same pool.
    #[error("two --endpoints files name the same pool; give each pool its own name")]
    DuplicatePool,
    /// The aggregator would be reachable without TLS.
    #[error(transparent)]
    ExposedListener(#[from] ExposedListener),
    /// A port could not be served.
    #[error("cannot serve a port")]
    Serve(#[from] std::io::Error),
}

/// Names of the flags that choose the ports, for error messages.
#[derive(Clone, Copy, Debug)]
pub struct PortFlags {
    /// Flag of the port for collectors, replicas and other aggregators.
    pub listen: &'static str,
    /// Flag of the metrics port.
    pub metrics: &'static str,
}

/// A running aggregator.
#[derive(Debug)]
pub struct Aggregator {
    address: SocketAddr,
    admin: AdminServer,
    root: ActorRef<RootMessage>,
    session: Arc<Session>,
    pools: Pools,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    ended: watch::Receiver<bool>,
}

impl Aggregator {
    /// Starts an aggregator that serves the pools in `sources`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: AggregatorConfig,
        sources: Vec<PoolSource>,
        flags: PortFlags,
    ) -> Result<Self, StartError> {
        config.security.check_listen_address(config.listen)?;
        let listener = listen(config.listen, flags.listen).await?;
        let admin_listener = listen(config.metrics, flags.metrics).await?;
        let address = listener.local_addr()?;
        let mut registry = registry("aggregator");
        let metrics = Arc::new(Metrics::register(&mut registry));
        let membership = join(&config, address);
        let session = Arc::clone(&membership.session);
        let setups =
            sources.into_iter().map(|source| pool_owner_setup(&config, &membership, source, &metrics));
        let setups = setups.collect::<Result<Vec<_>, _>>()?;
        let pools = Pools::new(setups.iter().map(|setup| Arc::clone(&setup.handle)));
        if pools.all().count() < setups.len() {
            return Err(StartError::DuplicatePool);
        }
        let context = StreamContext::new(pools.clone(), config.name, metrics);
        let (root, actors) =
            Actor::spawn(None, Root, setups).await.map_err(|error| StartError::Actors(error.to_string()))?;
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            let _ = actors.await;
            end.send_replace(true);
        });
        let admin = AdminServer::start(admin_listener, Arc::new(registry), axum::Router::new())?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(config.security.incoming(listener), context, stopped));
        Ok(Self { address, admin, root, session, pools, stop, server, ended })
    }

    /// Returns the status in each pool, and the pool's highest known epoch.
    pub fn pool_statuses(&self) -> Vec<(PoolId, RoleStatus, u64)> {
        let status =
            |pool: &Arc<PoolHandle>| (pool.pool.clone(), *pool.status.borrow(), *pool.epoch.borrow());
        self.pools.all().map(status).collect()
    }

    /// Returns the name of the aggregator.
    pub fn name(&self) -> &str {
        self.session.name()
    }

    /// Returns the listen address for collectors and replicas.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the listen address for Prometheus.
    pub fn metrics_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Waits until the aggregator fails.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Hands the pools to other aggregators, then ends all streams and the actors.
    pub async fn stop(self) {
        let _ = self.root.call(RootMessage::Drain, Some(DRAIN_TIMEOUT)).await;
        self.session.leave().await;
        let _ = self.stop.send(());
        let _ = self.root.stop_and_wait(None, Some(STOP_GRACE)).await;
        let mut server = self.server;
        if tokio::time::timeout(STOP_GRACE, &mut server).await.is_err() {
            server.abort();
        }
        self.admin.stop();
    }
}

/// Registers with the coordinator, or with an in-process one.
fn join(config: &AggregatorConfig, listen_address: SocketAddr) -> Membership {
    let (coordinator, owner_history) = match &config.coordinator {
        Some(coordinator) => (coordinator.clone(), OwnerHistory::Complete),
        None => (Coordinator::in_process(), OwnerHistory::SinceStart),
    };
    let address = config.advertise.clone().unwrap_or_else(|| advertised_address(listen_address));
    let member = Member { role: Role::Aggregator, name: config.name.clone(), address: Some(address) };
    let session = Arc::new(coordinator.join(member, config.lease_ttl));
    Membership { coordinator, session, owner_history }
}

/// Returns the address at which others reach a listener: the listen address, or the host name if it listens
/// on all addresses. In Kubernetes the host name is the pod's name, which others may be unable to resolve;
/// set `--advertise` to the pod IP.
fn advertised_address(listen_address: SocketAddr) -> PeerAddress {
    if !listen_address.ip().is_unspecified() {
        return listen_address.into();
    }
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
    let named = format!("{host}:{}", listen_address.port()).parse();
    named.unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], listen_address.port())).into())
}

fn pool_owner_setup(
    config: &AggregatorConfig,
    membership: &Membership,
    source: PoolSource,
    metrics: &Arc<Metrics>,
) -> Result<PoolOwnerSetup, StartError> {
    let specs = watch_pool(source, metrics);
    let pool = specs.borrow().id.clone();
    let hello = Hello { pool: Some(pool.to_string()), name: config.name.clone() };
    let others = discover_aggregators(Vec::new(), Some(&membership.coordinator), Some(&config.name));
    Ok(PoolOwnerSetup {
        config: PoolRoleConfig {
            name: config.name.clone(),
            pool_hash: EndpointKey::of(&pool.to_string()).0,
            pool: config.pool,
            takeover_wait_ms: config.takeover_wait.as_millis() as u64,
            failback_after_ms: config.failback_after.as_millis() as u64,
        },
        specs,
        peers: signalbox_peers::FollowSettings {
            pool: Arc::new(FollowedPool::requested_by(&hello)),
            hello,
            aggregators: others,
            security: config.security.clone(),
        },
        membership: membership.clone(),
        metrics: Arc::new(metrics.pool(&pool)),
        handle: Arc::new(PoolHandle::new(pool)),
    })
}

async fn serve(
    incoming: ReceiverStream<io::Result<Connection>>,
    context: StreamContext,
    stopped: oneshot::Receiver<()>,
) {
    let until_stopped = async move {
        let _ = stopped.await;
    };
    let pool = PoolServer::new(context).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let served = Server::builder().add_service(pool).serve_with_incoming_shutdown(incoming, until_stopped);
    if let Err(error) = served.await {
        tracing::error!(%error, "the gRPC server failed");
    }
}
