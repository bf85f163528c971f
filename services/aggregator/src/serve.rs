//! The gRPC streams. Each is a task that owns its stream and speaks to its pool's steward by message.

mod collect;
mod feed;
mod relay;
mod subscribe;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_server::Pool;
use signalbox_state::RoleStatus;
use signalbox_wire::{Hello, WireError};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::actors::PoolOwnerRef;
use crate::metrics::Metrics;
use crate::pools::{Board, Pools};

pub(crate) use relay::Relays;

/// Messages of all streams together that may wait for the stewards.
const MESSAGES_WAITING: usize = 1_024;

/// Reasons to refuse a stream that are remembered as logged.
const REASONS_LOGGED: usize = 1_024;

/// What a stream needs to speak to a pool's steward.
#[derive(Clone, Debug)]
pub(crate) struct StreamContext {
    pools: Pools,
    name: String,
    metrics: Arc<Metrics>,
    permits: Arc<Semaphore>,
    streams: Arc<AtomicU64>,
    logged: Arc<Mutex<BTreeSet<String>>>,
}

/// Whom a stream is with, and about what.
struct Counterpart {
    board: Arc<Board>,
    owner: PoolOwnerRef,
    name: String,
}

impl StreamContext {
    pub(crate) fn new(pools: Pools, name: String, metrics: Arc<Metrics>) -> Self {
        let permits = Arc::new(Semaphore::new(MESSAGES_WAITING));
        Self { pools, name, metrics, permits, streams: Arc::default(), logged: Arc::default() }
    }

    fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// Who has opened a stream.
    fn meet(&self, hello: Option<pb::Hello>) -> Result<Counterpart, Status> {
        let hello = Hello::read(hello).map_err(|error| self.refuse("somebody", &error))?;
        let board = self.pools.find(hello.pool.as_deref()).map_err(|error| {
            self.log_refusal(&hello.name, &error.to_string());
            Status::failed_precondition(error.to_string())
        })?;
        let owner = board.owner.borrow().clone();
        let owner = owner.ok_or_else(|| Status::unavailable("the pool's owner is being started"))?;
        Ok(Counterpart { board, owner, name: hello.name })
    }

    /// Who has opened a stream that only the owner serves.
    fn meet_as_owner(&self, hello: Option<pb::Hello>) -> Result<Counterpart, Status> {
        let met = self.meet(hello)?;
        let standing = *met.board.standing.borrow();
        match standing {
            RoleStatus::Owner(_) => Ok(met),
            RoleStatus::Standby | RoleStatus::TakingOver(_) => Err(not_the_owner(&met.board)),
        }
    }

    fn refuse(&self, whom: &str, error: &WireError) -> Status {
        self.metrics.refused_messages.inc();
        self.log_refusal(whom, &error.to_string());
        match error {
            WireError::Protocol { .. } => Status::failed_precondition(error.to_string()),
            _ => Status::invalid_argument(error.to_string()),
        }
    }

    /// Whoever is refused comes again and again; the reason is logged once.
    fn log_refusal(&self, whom: &str, reason: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < REASONS_LOGGED && logged.insert(format!("{whom} {reason}")) {
            tracing::warn!(whom, reason, "a stream is closed");
        }
    }
}

fn not_the_owner(board: &Board) -> Status {
    let epoch = *board.news.borrow();
    Status::unavailable(format!("another aggregator owns pool {}, under epoch {epoch} or later", board.pool))
}

type Outgoing<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl Pool for StreamContext {
    type CollectStream = Outgoing<pb::CollectorDirective>;
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
