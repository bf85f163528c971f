//! The gRPC streams. Each is a task that owns its stream and speaks to the pool's owner by message.

mod collect;
mod feed;
mod subscribe;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use signalbox_protos::signalbox::v1::pool_server::Pool;
use signalbox_protos::signalbox::v1::{
    CollectorDirective, CollectorMessage, Cursor, FeedbackBatch, FeedbackReply, Frame,
};
use signalbox_types::Version;
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::actors::OwnerRef;
use crate::metrics::Metrics;

/// Messages of all streams together that may wait for the owner.
const MESSAGES_WAITING: usize = 1_024;

/// What a stream needs to speak to the pool's owner.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    owner: Arc<watch::Sender<Option<OwnerRef>>>,
    head: Arc<watch::Sender<Version>>,
    metrics: Arc<Metrics>,
    permits: Arc<Semaphore>,
    streams: Arc<AtomicU64>,
}

impl Desk {
    pub(crate) fn new(
        owner: Arc<watch::Sender<Option<OwnerRef>>>,
        head: Arc<watch::Sender<Version>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(MESSAGES_WAITING));
        Self { owner, head, metrics, permits, streams: Arc::default() }
    }

    fn owner(&self) -> Result<OwnerRef, Status> {
        let owner = self.owner.borrow().clone();
        owner.ok_or_else(|| Status::unavailable("the pool has no owner at the moment"))
    }

    fn epoch(&self) -> u64 {
        self.head.borrow().epoch
    }

    fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    fn refuse(&self, error: &signalbox_wire::WireError) -> Status {
        self.metrics.refused_messages.inc();
        tracing::warn!(%error, "a message is not of this version");
        Status::invalid_argument(error.to_string())
    }
}

type Outgoing<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl Pool for Desk {
    type CollectStream = Outgoing<CollectorDirective>;
    type SubscribeStream = Outgoing<Frame>;
    type FeedStream = Outgoing<FeedbackReply>;

    async fn collect(
        &self,
        request: Request<Streaming<CollectorMessage>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        collect::serve(self.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<Cursor>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        subscribe::serve(self.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn feed(
        &self,
        request: Request<Streaming<FeedbackBatch>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        feed::serve(self, request.into_inner()).map(Response::new)
    }
}
