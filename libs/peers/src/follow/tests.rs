//! Tests with real streams.

use std::net::Ipv4Addr;
use std::time::Duration;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_server::{Pool, PoolServer};
use signalbox_state::FromAggregator;
use signalbox_tls::Security;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

/// How often the aggregator sends a message.
const SEND_INTERVAL: Duration = Duration::from_millis(50);

type Outgoing<T> = ReceiverStream<Result<T, Status>>;

/// An aggregator that does not own the pool, and says so until `serves` is false.
#[derive(Clone, Debug)]
struct Standby {
    serves: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Pool for Standby {
    type CollectStream = Outgoing<pb::CollectorAssignment>;
    type SubscribeStream = Outgoing<pb::Frame>;
    type FeedStream = Outgoing<pb::FeedbackReply>;
    type RelayStream = Outgoing<pb::RequestEndBatch>;

    async fn collect(
        &self,
        _: Request<Streaming<pb::CollectorMessage>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        Err(Status::unimplemented("collect"))
    }

    async fn subscribe(
        &self,
        _: Request<Streaming<pb::FollowerMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let mut serves = self.serves.clone();
        tokio::spawn(async move {
            let mut hello = Some(Hello { pool: Some("default/p".to_owned()), name: "standby".to_owned() });
            let message = FromAggregator::NotOwner { epoch: 1 };
            loop {
                let frame = signalbox_wire::encode_aggregator_message(hello.take().as_ref(), &message);
                let ends = sender.send(Ok(frame)).await.is_err()
                    || timeout(SEND_INTERVAL, serves.wait_for(|serves| !serves)).await.is_ok();
                if ends {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn feed(
        &self,
        _: Request<Streaming<pb::FeedbackBatch>>,
    ) -> Result<Response<Self::FeedStream>, Status> {
        Err(Status::unimplemented("feed"))
    }

    async fn relay(
        &self,
        _: Request<Streaming<pb::RequestEndBatch>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        Err(Status::unimplemented("relay"))
    }
}

/// A follower, and the aggregator that it follows.
struct Followed {
    listed: watch::Sender<Vec<PeerAddress>>,
    serves: watch::Sender<bool>,
    address: PeerAddress,
    events: mpsc::UnboundedReceiver<StreamEvent>,
    task: tokio::task::JoinHandle<()>,
}

impl Followed {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: PeerAddress = listener.local_addr().unwrap().into();
        let serves = watch::Sender::new(true);
        let service = PoolServer::new(Standby { serves: serves.subscribe() });
        let incoming = TcpIncoming::from(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        let hello = Hello { pool: Some("default/p".to_owned()), name: "follower".to_owned() };
        let listed = watch::Sender::new(vec![address.clone()]);
        let settings = FollowSettings {
            pool: Arc::new(FollowedPool::requested_by(&hello)),
            hello,
            aggregators: listed.subscribe(),
            connections: Connections::new(Security::Local),
        };
        let (sender, events) = mpsc::unbounded_channel();
        let listener = move |event| match sender.send(event) {
            Ok(()) => ListenerState::Listening,
            Err(_) => ListenerState::Closed,
        };
        let task = tokio::spawn(follow(settings, listener));
        Self { listed, serves, address, events, task }
    }

    /// Returns the next event that `wanted` accepts. It must be of stream `number`.
    async fn next(&mut self, number: u64, wanted: fn(&StreamEvent) -> bool) {
        loop {
            let event = timeout(DEADLINE, self.events.recv()).await.expect("in time").unwrap();
            let (StreamEvent::Opened { stream, .. }
            | StreamEvent::Received { stream, .. }
            | StreamEvent::Closed { stream }) = &event;
            if wanted(&event) {
                return assert_eq!(number, *stream);
            }
        }
    }
}

fn is_opened(event: &StreamEvent) -> bool {
    matches!(event, StreamEvent::Opened { .. })
}

fn is_message(event: &StreamEvent) -> bool {
    matches!(event, StreamEvent::Received { .. })
}

fn is_closed(event: &StreamEvent) -> bool {
    matches!(event, StreamEvent::Closed { .. })
}

#[tokio::test]
async fn stream_to_an_aggregator_that_is_not_listed_any_more_stays_until_it_ends() {
    let mut followed = Followed::start().await;
    followed.next(1, is_message).await;
    followed.listed.send_replace(Vec::new());
    // It is the same stream that delivers all of these. A torn one ends before.
    for _ in 0..10 {
        let event = timeout(DEADLINE, followed.events.recv()).await.expect("in time").unwrap();
        assert!(matches!(event, StreamEvent::Received { stream: 1, .. }), "{event:?}");
    }
    followed.serves.send_replace(false);
    followed.next(1, is_closed).await;
    followed.serves.send_replace(true);
    // It is opened again only when the aggregator is listed again.
    let opened = timeout(Duration::from_millis(1_500), followed.events.recv()).await;
    assert!(opened.is_err(), "{opened:?}");
    followed.listed.send_replace(vec![followed.address.clone()]);
    followed.next(2, is_opened).await;
    followed.next(2, is_message).await;
}

#[tokio::test]
async fn stream_stays_when_its_aggregator_is_listed_again() {
    let mut followed = Followed::start().await;
    followed.next(1, is_message).await;
    followed.listed.send_replace(Vec::new());
    followed.next(1, is_message).await;
    followed.listed.send_replace(vec![followed.address.clone()]);
    for _ in 0..10 {
        followed.next(1, |_| true).await;
    }
    followed.serves.send_replace(false);
    followed.next(1, is_closed).await;
    followed.serves.send_replace(true);
    followed.next(2, is_opened).await;
}

#[tokio::test]
async fn following_ends_with_the_listener() {
    let mut followed = Followed::start().await;
    followed.next(1, is_opened).await;
    drop(followed.events);
    timeout(DEADLINE, followed.task).await.expect("in time").unwrap();
}
