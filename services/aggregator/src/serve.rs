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
use signalbox_wire::{FleetState, Hello, WireError};
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::fleet::watch_fleet;
use crate::metrics::Metrics;
use crate::pools::{PoolHandle, PoolOwnerRef, Pools};

/// Messages of all streams together that can queue for the actors.
const MAX_QUEUED_MESSAGES: usize = 1_024;

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
    permits: Arc<Semaphore>,
    next_stream: Arc<AtomicU64>,
    logged: Arc<Mutex<BTreeSet<String>>>,
}

/// The process at the other end of a stream, and the stream's pool.
struct StreamPeer {
    name: String,
    pool: Arc<PoolHandle>,
    actor: PoolOwnerRef,
}

impl StreamContext {
    pub(crate) fn new(
        pools: Pools,
        fleet: watch::Receiver<FleetState>,
        name: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_QUEUED_MESSAGES));
        Self { pools, fleet, name, metrics, permits, next_stream: Arc::default(), logged: Arc::default() }
    }

    fn next_stream(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// Reads the `hello` of a stream and finds its pool.
    fn accept(&self, hello: Option<pb::Hello>) -> Result<StreamPeer, Status> {
        let hello = Hello::read(hello).map_err(|error| self.reject_message("unknown", &error))?;
        let pool = self.pools.find(hello.pool.as_deref()).map_err(|error| {
            self.log_closed_stream(&hello.name, &error.to_string());
            Status::failed_precondition(error.to_string())
        })?;
        let actor = pool.actor.borrow().clone();
        let actor = actor.ok_or_else(|| Status::unavailable("the pool's actor is being restarted"))?;
        Ok(StreamPeer { name: hello.name, pool, actor })
    }

    /// Reads the `hello` of a stream that only the pool's owner serves.
    fn accept_as_owner(&self, hello: Option<pb::Hello>) -> Result<StreamPeer, Status> {
        let peer = self.accept(hello)?;
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
        Ok(Response::new(collect::serve(self.clone(), request.into_inner())))
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<pb::FollowerMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Ok(Response::new(subscribe::serve(self.clone(), request.into_inner())))
    }

    async fn feed(
        &self,
        request: Request<Streaming<pb::FeedbackBatch>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        Ok(Response::new(feed::serve(self.clone(), request.into_inner())))
    }

    async fn relay(
        &self,
        request: Request<Streaming<pb::RequestEndBatch>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        Ok(Response::new(relay::serve(self.clone(), request.into_inner())))
    }
}

#[tonic::async_trait]
impl Fleet for StreamContext {
    type WatchStream = Outgoing<pb::FleetState>;

    async fn watch(&self, request: Request<pb::FleetRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Hello::read(request.into_inner().hello).map_err(|error| self.reject_message("unknown", &error))?;
        Ok(Response::new(fleet::serve(self.fleet.clone())))
    }
}
