//! An aggregator that sends given assignments and records what it receives.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_server::{Pool, PoolServer};
use signalbox_state::{AssignedEndpoint, Report, Update};
use signalbox_types::EndpointKey;
use signalbox_wire::{decode_reports, encode_assignment};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::TIMEOUT;

/// A message, and the number of its stream, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedMessage {
    pub(crate) stream: usize,
    pub(crate) epoch: u64,
    pub(crate) collector: String,
    pub(crate) reports: Vec<Report>,
}

/// All that was received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) streams: usize,
    pub(crate) messages: Vec<ReceivedMessage>,
}

impl Received {
    /// Returns the reports of an endpoint on the latest stream.
    pub(crate) fn reports(&self, name: &str) -> Vec<&Report> {
        let messages = self.messages.iter().filter(|message| message.stream == self.streams);
        let reports = messages.flat_map(|message| &message.reports);
        reports.filter(|report| report.endpoint == EndpointKey::of(name)).collect()
    }

    /// Returns the merged updates of an endpoint on the latest stream.
    pub(crate) fn merged_update(&self, name: &str) -> Update {
        let mut merged = Update::default();
        for report in self.reports(name) {
            merged.merge(report.update.clone());
        }
        merged
    }

    /// Returns the latest waiting and running requests of an endpoint.
    pub(crate) fn latest_gauges(&self, name: &str) -> Option<(u32, u32)> {
        self.merged_update(name).gauges.map(|gauges| (gauges.waiting, gauges.running.unwrap_or_default()))
    }
}

/// The assignment that every stream receives, now and whenever it changes.
#[derive(Clone, Debug)]
struct Assignment {
    epoch: u64,
    endpoints: Vec<AssignedEndpoint>,
}

#[derive(Debug)]
struct ServerState {
    assignment: watch::Sender<Assignment>,
    received: watch::Sender<Received>,
    /// Streams up to this number must end.
    ended: watch::Sender<usize>,
}

/// Runs until it is dropped; then its port and all connections close at once.
pub(crate) struct FakeAggregator {
    address: SocketAddr,
    state: Arc<ServerState>,
    running: Option<Runtime>,
}

impl Drop for FakeAggregator {
    fn drop(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

impl FakeAggregator {
    pub(crate) fn start(endpoints: Vec<AssignedEndpoint>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _entered = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ServerState {
            assignment: watch::Sender::new(Assignment { epoch: 1, endpoints }),
            received: watch::Sender::default(),
            ended: watch::Sender::new(0),
        });
        let service = PoolServer::from_arc(state.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, state, running: Some(runtime) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn assign(&self, epoch: u64, endpoints: Vec<AssignedEndpoint>) {
        self.state.assignment.send_replace(Assignment { epoch, endpoints });
    }

    /// Ends all open streams.
    pub(crate) fn end_streams(&self) {
        let streams = self.state.received.borrow().streams;
        self.state.ended.send_replace(streams);
    }

    /// Waits until `find` finds something in what was received, and returns it. `what` describes it in
    /// failures.
    pub(crate) async fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&Received) -> Option<T>) -> T {
        let mut received = self.state.received.subscribe();
        let mut found = None;
        let waited = received.wait_for(|received| {
            found = find(received);
            found.is_some()
        });
        let outcome = tokio::time::timeout(TIMEOUT, waited).await.map(drop);
        if outcome.is_err() {
            panic!(
                "did not receive {what}; the last message is {:#?}",
                self.state.received.borrow().messages.last()
            );
        }
        found.unwrap()
    }

    /// Returns what `find` finds in what was received so far.
    pub(crate) fn with_received<T>(&self, find: impl FnOnce(&Received) -> T) -> T {
        find(&self.state.received.borrow())
    }
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Pool for ServerState {
    type CollectStream = Outgoing<pb::CollectorAssignment>;
    type SubscribeStream = Outgoing<pb::Frame>;
    type FeedStream = Outgoing<pb::FeedbackReply>;
    type RelayStream = Outgoing<pb::RequestEndBatch>;

    async fn collect(
        &self,
        request: Request<Streaming<pb::CollectorMessage>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        let mut stream = 0;
        self.received.send_modify(|received| {
            received.streams += 1;
            stream = received.streams;
        });
        let (received, mut incoming) = (self.received.clone(), request.into_inner());
        let listening = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let (epoch, collector) = (message.epoch, message.collector.clone());
                let message =
                    ReceivedMessage { stream, epoch, collector, reports: decode_reports(message).unwrap() };
                received.send_modify(|received| received.messages.push(message));
            }
        }));
        let mut ended = self.ended.subscribe();
        let end = async move {
            let _ = ended.wait_for(|ended| *ended >= stream).await;
        };
        let directives = WatchStream::new(self.assignment.subscribe()).map(move |assignment| {
            let _alive_as_long_as_the_stream = &listening;
            Ok(encode_assignment(assignment.epoch, assignment.endpoints))
        });
        Ok(Response::new(Box::pin(directives.take_until(Box::pin(end)))))
    }

    async fn subscribe(
        &self,
        _request: Request<Streaming<pb::FollowerMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn feed(
        &self,
        _request: Request<Streaming<pb::FeedbackBatch>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn relay(
        &self,
        _request: Request<Streaming<pb::RequestEndBatch>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        Ok(Response::new(Box::pin(stream::empty())))
    }
}
