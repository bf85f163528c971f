//! An aggregator that tells of given pools and owns all of them. Each pool has one endpoint.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::fleet_server::{Fleet, FleetServer};
use signalbox_protos::signalbox::v1::pool_server::{Pool, PoolServer};
use signalbox_state::{Frame, FromAggregator, PoolConfig, PoolInput};
use signalbox_types::{EndpointSpec, Engine, MetricsTls, PoolId, PoolSpec};
use signalbox_wire::{FleetState, Hello, ServedPool, encode_aggregator_message, encode_fleet_state};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream, WatchStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

const EPOCH: u64 = 1;

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs until it is dropped.
pub(crate) struct FakeAggregator {
    pub(crate) address: SocketAddr,
    state: watch::Sender<FleetState>,
    _server: AbortOnDropHandle<()>,
}

struct Service(watch::Receiver<FleetState>);

/// Returns the address of the endpoint of a pool.
pub(crate) fn endpoint_of(pool: &str) -> String {
    let number = pool.bytes().fold(1_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    format!("10.0.0.{number}:8000")
}

impl FakeAggregator {
    /// Starts an aggregator that does not know the pools yet.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let aggregators = vec![address.into()];
        let (state, receiver) = watch::channel(FleetState { aggregators, ..FleetState::default() });
        let service = Arc::new(Service(receiver));
        let server = tonic::transport::Server::builder()
            .add_service(FleetServer::from_arc(Arc::clone(&service)))
            .add_service(PoolServer::from_arc(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async { server.await.unwrap() });
        Self { address, state, _server: AbortOnDropHandle::new(server) }
    }

    /// Replaces the pools by these: name, port and time of creation.
    pub(crate) fn set_pools(&self, pools: &[(&str, u16, u64)]) {
        let pool = |(name, port, created_ms): &(&str, u16, u64)| {
            let id = PoolId { namespace: "default".to_owned(), name: (*name).to_owned() };
            (id, ServedPool { port: Some(*port), created_ms: *created_ms })
        };
        let pools: BTreeMap<_, _> = pools.iter().map(pool).collect();
        self.state.send_modify(|state| (state.is_synced, state.pools) = (true, pools));
    }
}

#[tonic::async_trait]
impl Fleet for Service {
    type WatchStream = Outgoing<pb::FleetState>;

    async fn watch(&self, _: Request<pb::FleetRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let signs_of_life = IntervalStream::new(tokio::time::interval(Duration::from_secs(1)));
        let (changes, state) = (WatchStream::new(self.0.clone()), self.0.clone());
        let all = stream::select(changes.map(drop), signs_of_life.map(drop));
        Ok(Response::new(all.map(move |()| Ok(encode_fleet_state(&state.borrow()))).boxed()))
    }
}

#[tonic::async_trait]
impl Pool for Service {
    type CollectStream = Outgoing<pb::CollectorAssignment>;
    type SubscribeStream = Outgoing<pb::Frame>;
    type FeedStream = Outgoing<pb::FeedbackReply>;
    type RelayStream = Outgoing<pb::RequestEndBatch>;

    async fn collect(
        &self,
        _: Request<Streaming<pb::CollectorMessage>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        Err(Status::unimplemented("no test needs it"))
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<pb::FollowerMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.and_then(|first| first.hello);
        let hello = Hello::read(first).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let id: PoolId = hello.pool.unwrap().parse().unwrap();
        if !self.0.borrow().pools.contains_key(&id) {
            return Err(Status::not_found("unknown pool"));
        }
        let mut hello = Some(Hello { pool: Some(id.to_string()), name: "aggregator".to_owned() });
        let pool = owned_pool(id);
        let (version, digest) = (pool.snapshot().version, pool.pool_state().digest());
        let frames: Vec<Frame> = Arc::new(pool.snapshot()).frames().collect();
        let beats = IntervalStream::new(tokio::time::interval(Duration::from_millis(100)));
        let beat = move |_| Frame::Heartbeat { epoch: EPOCH, seq: version.seq, now_ms: 1, digest };
        let frames = stream::iter(frames).chain(beats.map(beat));
        let messages = frames.map(move |frame| {
            Ok(encode_aggregator_message(hello.take().as_ref(), &FromAggregator::Frame(frame)))
        });
        // The follower's messages are read, so that its side of the stream stays open.
        let read = tokio::spawn(async move { while let Ok(Some(_)) = inbound.message().await {} });
        let read = AbortOnDropHandle::new(read);
        let is_open = move |_: &_| std::future::ready(!read.is_finished());
        Ok(Response::new(messages.take_while(is_open).boxed()))
    }

    async fn feed(
        &self,
        _: Request<Streaming<pb::FeedbackBatch>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        Ok(Response::new(stream::pending().boxed()))
    }

    async fn relay(
        &self,
        _: Request<Streaming<pb::RequestEndBatch>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        Ok(Response::new(stream::pending().boxed()))
    }
}

/// Returns the state of a pool with one endpoint.
fn owned_pool(id: PoolId) -> signalbox_state::Pool {
    let endpoint = EndpointSpec {
        name: format!("pod of {id}"),
        address: endpoint_of(&id.name).parse().unwrap(),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    let mut pool = signalbox_state::Pool::new(EPOCH, PoolConfig::default());
    let spec = PoolSpec { id, endpoints: vec![endpoint], models: Arc::default() };
    pool.handle(0, PoolInput::Spec(spec.into()));
    pool
}
