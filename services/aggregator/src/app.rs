//! Wiring: from a configuration and a pool to a running aggregator.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use signalbox_lease::{Coordinator, Member, Role, Session, aggregators};
use signalbox_peers::Subject;
use signalbox_protos::signalbox::v1::pool_server::PoolServer;
use signalbox_state::{PoolRoleConfig, RoleStatus};
use signalbox_telemetry::{AdminServer, ListenError, listen, registry};
use signalbox_tls::{Connection, Exposed};
use signalbox_types::{EndpointKey, PeerAddress, PoolId};
use signalbox_wire::Hello;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::actors::{Membership, Memory, Root, RootMessage, StewardSetup};
use crate::config::AggregatorConfig;
use crate::metrics::Metrics;
use crate::pools::{Board, Pools};
use crate::serve::StreamContext;
use crate::source::{Source, follow};

/// How long leaving the pools to others may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// The largest message: a batch of placements, or a frame that is offered.
const MESSAGE_LIMIT_BYTES: usize = 16 << 20;

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
    /// Two files are of one pool.
    #[error("two of the --endpoints files are of the same pool; each needs a name of its own")]
    SamePool,
    /// Anybody could connect.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// A listener broke at once.
    #[error("a port cannot be served")]
    Serve(#[from] std::io::Error),
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
    session: Arc<Session>,
    pools: Pools,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    ended: watch::Receiver<bool>,
}

impl Aggregator {
    /// Starts an aggregator of the pools in `sources`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: AggregatorConfig,
        sources: Vec<Source>,
        flags: PortFlags,
    ) -> Result<Self, StartError> {
        config.security.listens_at(config.listen)?;
        let listener = listen(config.listen, flags.listen).await?;
        let admin_listener = listen(config.metrics, flags.metrics).await?;
        let address = listener.local_addr()?;
        let mut shown = registry("aggregator");
        let metrics = Arc::new(Metrics::register(&mut shown));
        let membership = join(&config, address);
        let session = Arc::clone(&membership.session);
        let setups = sources.into_iter().map(|source| owner(&config, &membership, source, &metrics));
        let setups = setups.collect::<Result<Vec<_>, _>>()?;
        let pools = Pools::new(setups.iter().map(|setup| Arc::clone(&setup.board)));
        if pools.all().count() < setups.len() {
            return Err(StartError::SamePool);
        }
        let context = StreamContext::new(pools.clone(), config.name, metrics);
        let (root, actors) =
            Actor::spawn(None, Root, setups).await.map_err(|error| StartError::Actors(error.to_string()))?;
        let (ending, ended) = watch::channel(false);
        tokio::spawn(async move {
            let _ = actors.await;
            ending.send_replace(true);
        });
        let admin = AdminServer::start(admin_listener, Arc::new(shown), axum::Router::new())?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(config.security.incoming(listener), context, stopped));
        Ok(Self { address, admin, root, session, pools, stop, server, ended })
    }

    /// How it stands to each of its pools, and under which epoch.
    pub fn standings(&self) -> Vec<(PoolId, RoleStatus, u64)> {
        let of = |board: &Arc<Board>| (board.pool.clone(), *board.standing.borrow(), *board.news.borrow());
        self.pools.all().map(of).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.session.name()
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

    /// Leaves its pools to others, then ends all streams and the actors.
    pub async fn stop(self) {
        let _ = self.root.call(RootMessage::Drain, Some(DRAIN_DEADLINE)).await;
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

/// Registers with the coordinator, or with one of its own.
fn join(config: &AggregatorConfig, listens_on: SocketAddr) -> Membership {
    let (coordinator, memory) = match &config.coordinator {
        Some(coordinator) => (coordinator.clone(), Memory::Whole),
        None => (Coordinator::in_process(), Memory::SinceStart),
    };
    let address = config.advertise.clone().unwrap_or_else(|| reachable(listens_on));
    let member = Member { role: Role::Aggregator, name: config.name.clone(), address: Some(address) };
    let session = Arc::new(coordinator.join(member, config.lease_ttl));
    Membership { coordinator, session, memory }
}

/// In Kubernetes the host's name is the pod's, which others may not be able to look up; there, `--advertise` is the pod's IP.
fn reachable(listens_on: SocketAddr) -> PeerAddress {
    if !listens_on.ip().is_unspecified() {
        return listens_on.into();
    }
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
    let named = format!("{host}:{}", listens_on.port()).parse();
    named.unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], listens_on.port())).into())
}

fn owner(
    config: &AggregatorConfig,
    membership: &Membership,
    source: Source,
    metrics: &Arc<Metrics>,
) -> Result<StewardSetup, StartError> {
    let specs = follow(source, metrics);
    let pool = specs.borrow().id.clone();
    let hello = Hello { pool: Some(pool.to_string()), name: config.name.clone() };
    let others = aggregators(Vec::new(), Some(&membership.coordinator), Some(&config.name));
    Ok(StewardSetup {
        config: PoolRoleConfig {
            name: config.name.clone(),
            pool_hash: EndpointKey::of(&pool.to_string()).0,
            pool: config.pool,
            inherit_within_ms: config.inherit_within.as_millis() as u64,
            give_back_after_ms: config.give_back_after.as_millis() as u64,
        },
        specs,
        peers: signalbox_peers::Settings {
            subject: Arc::new(Subject::of(&hello)),
            hello,
            aggregators: others,
            security: config.security.clone(),
        },
        membership: membership.clone(),
        levels: Arc::new(metrics.of(&pool)),
        board: Arc::new(Board::new(pool)),
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
    let pool = PoolServer::new(context).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    let served = Server::builder().add_service(pool).serve_with_incoming_shutdown(incoming, until_stopped);
    if let Err(error) = served.await {
        tracing::error!(%error, "collectors and replicas are served no more");
    }
}
