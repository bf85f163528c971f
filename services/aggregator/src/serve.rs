//! The gRPC streams. Each is a task that owns its stream and exchanges messages with its pool's actor.

mod collect;
mod feed;
mod fleet;
mod relay;
mod subscribe;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::fleet_server::Fleet;
use signalbox_protos::signalbox::v1::pool_server::Pool;
use signalbox_state::RoleStatus;
use signalbox_tls::{PeerCertificate, PeerRole, Security};
use signalbox_wire::{FleetState, Hello, WireError};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::fleet::watch_fleet;
use crate::metrics::Metrics;
use crate::pools::{PoolHandle, PoolOwnerRef, Pools, StreamBudget};

/// Who may report.
const COLLECTORS: &[PeerRole] = &[PeerRole::Collector];

/// Who may send feedback and relay the ends of requests.
const REPLICAS: &[PeerRole] = &[PeerRole::Epp];

/// Who may follow a pool.
const FOLLOWERS: &[PeerRole] = &[PeerRole::Epp, PeerRole::Aggregator];

/// Who may watch the fleet.
const FLEET_WATCHERS: &[PeerRole] = &[PeerRole::Epp, PeerRole::Collector];

/// Maximum number of distinct reasons for closing a stream that are remembered.
const MAX_REASONS_REMEMBERED: usize = 1_024;

/// What all streams share.
#[derive(Clone, Debug)]
pub(crate) struct StreamContext {
    pools: Pools,
    fleet: watch::Receiver<FleetState>,
    /// Name of this aggregator.
    name: String,
    metrics: Arc<Metrics>,
    security: Security,
    next_stream: Arc<AtomicU64>,
    logged: Arc<Mutex<BTreeSet<String>>>,
}

/// The process at the other end of a stream, and the stream's pool.
struct StreamPeer {
    name: String,
    /// The name, and those in the certificate.
    identity: String,
    pool: Arc<PoolHandle>,
    actor: PoolOwnerRef,
    budget: StreamBudget,
}

impl StreamContext {
    pub(crate) fn new(
        pools: Pools,
        fleet: watch::Receiver<FleetState>,
        name: String,
        metrics: Arc<Metrics>,
        security: Security,
    ) -> Self {
        Self { pools, fleet, name, metrics, security, next_stream: Arc::default(), logged: Arc::default() }
    }

    fn next_stream(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// Reads the `hello` of a stream and finds its pool.
    fn accept(&self, certificate: &PeerCertificate, hello: Option<pb::Hello>) -> Result<StreamPeer, Status> {
        let hello = Hello::read(hello).map_err(|error| self.reject_message("unknown", &error))?;
        let pool = self.pools.find(hello.pool.as_deref()).map_err(|error| {
            self.log_closed_stream(&hello.name, &error.to_string());
            Status::failed_precondition(error.to_string())
        })?;
        let actor = pool.actor.borrow().clone();
        let actor = actor.ok_or_else(|| Status::unavailable("the pool's actor is being restarted"))?;
        let (identity, budget) =
            (format!("{} {}", hello.name, certificate.names().join(" ")), pool.budget.stream());
        Ok(StreamPeer { name: hello.name, identity, pool, actor, budget })
    }

    /// Reads the `hello` of a stream that only the pool's owner serves.
    fn accept_as_owner(
        &self,
        certificate: &PeerCertificate,
        hello: Option<pb::Hello>,
    ) -> Result<StreamPeer, Status> {
        let peer = self.accept(certificate, hello)?;
        let status = *peer.pool.status.borrow();
        match status {
            RoleStatus::Owner(_) => Ok(peer),
            RoleStatus::Standby | RoleStatus::TakingOver(_) => Err(not_the_owner(&peer.pool)),
        }
    }

    /// Counts and logs an invalid message from `peer`, and returns the status that closes the stream.
    fn reject_message(&self, peer: &str, error: &WireError) -> Status {
        self.metrics.invalid_messages.inc();
        self.log_closed_stream(peer, &error.to_string());
        match error {
            WireError::Protocol { .. } => Status::failed_precondition(error.to_string()),
            _ => Status::invalid_argument(error.to_string()),
        }
    }

    /// Checks that the certificate of the client allows one of `roles`. Returns the certificate and the messages.
    fn authorize<M>(
        &self,
        request: Request<M>,
        roles: &'static [PeerRole],
    ) -> Result<(PeerCertificate, M), Status> {
        let certificate = request.extensions().get::<PeerCertificate>().cloned().unwrap_or_default();
        let authorized = self.security.authorize(&certificate, roles);
        authorized.map_err(|error| self.refuse(&certificate.names().join(" "), &error))?;
        Ok((certificate, request.into_inner()))
    }

    /// Counts and logs that `peer` may not do what it wants, and returns the status that closes the stream.
    fn refuse(&self, peer: &str, reason: &impl ToString) -> Status {
        self.metrics.refused_streams.inc();
        self.log_closed_stream(peer, &reason.to_string());
        Status::permission_denied(reason.to_string())
    }

    /// Logs a reason once per peer, because rejected peers retry, until too many are remembered.
    fn log_closed_stream(&self, peer: &str, reason: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= MAX_REASONS_REMEMBERED {
            logged.clear();
        }
        if logged.insert(format!("{peer} {reason}")) {
            tracing::warn!(peer, reason, "rejected a stream");
        }
    }
}

fn not_the_owner(pool: &PoolHandle) -> Status {
    let epoch = *pool.epoch.borrow();
    Status::unavailable(format!("another aggregator owns pool {}, in epoch {epoch} or later", pool.pool))
}

type Outgoing<T> = ReceiverStream<Result<T, Status>>;

/// Starts the task of a stream. `exchange` gets the sender of the messages to the client, of which up to `queued` can wait until
/// it reads them. The error with which it ends closes the stream.
fn start<T: Send + 'static, F: Future<Output = Result<(), Status>> + Send + 'static>(
    queued: usize,
    exchange: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F,
) -> Outgoing<T> {
    let (sender, receiver) = mpsc::channel(queued);
    let ended = exchange(sender.clone());
    tokio::spawn(async move {
        if let Err(status) = ended.await {
            // This fails if the client is gone.
            let _ = sender.send(Err(status)).await;
        }
    });
    Outgoing::new(receiver)
}

#[tonic::async_trait]
impl Pool for StreamContext {
    type CollectStream = Outgoing<pb::CollectorAssignment>;
    type SubscribeStream = Outgoing<pb::Frame>;
    type FeedStream = Outgoing<pb::FeedbackReply>;
    type RelayStream = Outgoing<pb::RequestEndBatch>;

    async fn collect(
        &self,
        request: Request<Streaming<pb::CollectorMessage>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        let (certificate, messages) = self.authorize(request, COLLECTORS)?;
        Ok(Response::new(collect::serve(self.clone(), certificate, messages)))
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<pb::FollowerMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (certificate, messages) = self.authorize(request, FOLLOWERS)?;
        Ok(Response::new(subscribe::serve(self.clone(), certificate, messages)))
    }

    async fn feed(
        &self,
        request: Request<Streaming<pb::FeedbackBatch>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        let (certificate, messages) = self.authorize(request, REPLICAS)?;
        Ok(Response::new(feed::serve(self.clone(), certificate, messages)))
    }

    async fn relay(
        &self,
        request: Request<Streaming<pb::RequestEndBatch>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        let (certificate, messages) = self.authorize(request, REPLICAS)?;
        Ok(Response::new(relay::serve(self.clone(), certificate, messages)))
    }
}

#[tonic::async_trait]
impl Fleet for StreamContext {
    type WatchStream = Outgoing<pb::FleetState>;

    async fn watch(&self, request: Request<pb::FleetRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (_, request) = self.authorize(request, FLEET_WATCHERS)?;
        Hello::read(request.hello).map_err(|error| self.reject_message("unknown", &error))?;
        Ok(Response::new(fleet::serve(self.fleet.clone())))
    }
}
