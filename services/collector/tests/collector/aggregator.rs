//! An aggregator that assigns what it is told to and keeps what it hears.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_server::{Pool, PoolServer};
use signalbox_state::{AssignedEndpoint, Report, Update};
use signalbox_types::EndpointKey;
use signalbox_wire::{directive, reports};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::PATIENCE;

/// One message, and on which stream it came, the first being 1.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) stream: usize,
    pub(crate) epoch: u64,
    pub(crate) collector: String,
    pub(crate) reports: Vec<Report>,
}

/// All that was heard.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) streams: usize,
    pub(crate) messages: Vec<Heard>,
}

impl Record {
    /// The reports of an endpoint on the latest stream.
    pub(crate) fn reports_of(&self, name: &str) -> Vec<&Report> {
        let messages = self.messages.iter().filter(|message| message.stream == self.streams);
        let reports = messages.flat_map(|message| &message.reports);
        reports.filter(|report| report.endpoint == EndpointKey::of(name)).collect()
    }

    /// What is known of an endpoint by the latest stream alone.
    pub(crate) fn known_of(&self, name: &str) -> Update {
        let mut known = Update::default();
        for report in self.reports_of(name) {
            known.merge(report.update.clone());
        }
        known
    }

    /// The last known waiting and running requests of an endpoint.
    pub(crate) fn gauges_of(&self, name: &str) -> Option<(u32, u32)> {
        self.known_of(name).gauges.map(|gauges| (gauges.waiting, gauges.running))
    }
}

/// What is told to every stream, now and whenever it changes.
#[derive(Clone, Debug)]
struct Told {
    epoch: u64,
    endpoints: Vec<AssignedEndpoint>,
}

#[derive(Debug)]
struct Office {
    told: watch::Sender<Told>,
    record: watch::Sender<Record>,
    /// Streams up to this one are to end.
    ended: watch::Sender<usize>,
}

/// Runs until it is dropped; then its port and every connection are closed at once.
pub(crate) struct Aggregator {
    address: SocketAddr,
    office: Arc<Office>,
    running: Option<Runtime>,
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

impl Aggregator {
    pub(crate) fn start(endpoints: Vec<AssignedEndpoint>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _entered = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let office = Arc::new(Office {
            told: watch::Sender::new(Told { epoch: 1, endpoints }),
            record: watch::Sender::default(),
            ended: watch::Sender::new(0),
        });
        let service = PoolServer::from_arc(office.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, office, running: Some(runtime) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn assign(&self, epoch: u64, endpoints: Vec<AssignedEndpoint>) {
        self.office.told.send_replace(Told { epoch, endpoints });
    }

    /// Ends the streams that are open.
    pub(crate) fn end_streams(&self) {
        let streams = self.office.record.borrow().streams;
        self.office.ended.send_replace(streams);
    }

    /// Waits until this holds of what was heard, and gives what `see` makes of it then.
    pub(crate) async fn hears<T>(&self, what: &str, mut see: impl FnMut(&Record) -> Option<T>) -> T {
        let mut record = self.office.record.subscribe();
        let mut seen = None;
        let waited = record.wait_for(|record| {
            seen = see(record);
            seen.is_some()
        });
        let outcome = tokio::time::timeout(PATIENCE, waited).await.map(drop);
        if outcome.is_err() {
            panic!("not heard: {what}; but {:#?}", self.office.record.borrow().messages.last());
        }
        seen.unwrap()
    }

    /// What is heard until now.
    pub(crate) fn so_far<T>(&self, see: impl FnOnce(&Record) -> T) -> T {
        see(&self.office.record.borrow())
    }
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Pool for Office {
    type CollectStream = Outgoing<pb::CollectorDirective>;
    type SubscribeStream = Outgoing<pb::Frame>;
    type FeedStream = Outgoing<pb::FeedbackReply>;
    type RelayStream = Outgoing<pb::RequestEndBatch>;

    async fn collect(
        &self,
        request: Request<Streaming<pb::CollectorMessage>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        let mut stream = 0;
        self.record.send_modify(|record| {
            record.streams += 1;
            stream = record.streams;
        });
        let (record, mut incoming) = (self.record.clone(), request.into_inner());
        let listening = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let (epoch, collector) = (message.epoch, message.collector.clone());
                let heard = Heard { stream, epoch, collector, reports: reports(message).unwrap() };
                record.send_modify(|record| record.messages.push(heard));
            }
        }));
        let mut ended = self.ended.subscribe();
        let end = async move {
            let _ = ended.wait_for(|ended| *ended >= stream).await;
        };
        let directives = WatchStream::new(self.told.subscribe()).map(move |told| {
            let _held_as_long_as_the_stream = &listening;
            Ok(directive(told.epoch, told.endpoints))
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
