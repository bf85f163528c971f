//! Processes that do what they must not, or nothing at all.

use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{Cursor, Feedback, FromFollower, GaugeScope, HeardOwner};
use signalbox_types::Origin;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::*;

/// The number of snapshots that an owner sends at a time.
const SNAPSHOTS_AT_A_TIME: usize = 4;

/// More endpoints than frames fit between an aggregator and a follower that does not read.
const ENDPOINTS: u16 = 64;

async fn connect(
    aggregator: &Aggregator,
    settings: impl FnOnce(Endpoint) -> Endpoint,
) -> PoolClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", aggregator.address())).unwrap();
    PoolClient::new(settings(endpoint).connect().await.unwrap())
}

fn hello(name: &str) -> Hello {
    Hello { pool: Some("default/p".to_owned()), name: name.to_owned() }
}

/// Sends one batch of feedback on a stream of its own. Returns the stream.
async fn feed(
    client: &mut PoolClient<Channel>,
    name: &str,
    origin: u64,
) -> (Streaming<signalbox_protos::signalbox::v1::FeedbackReply>, impl Sized + use<>) {
    let feedback = Feedback::new(Origin(origin), 1, GaugeScope::All);
    let (sender, batches) = tokio::sync::mpsc::channel(1);
    sender.send(signalbox_wire::encode_feedback(Some(&hello(name)), feedback)).await.unwrap();
    let batches = tokio_stream::wrappers::ReceiverStream::new(batches);
    (client.feed(batches).await.unwrap().into_inner(), sender)
}

async fn is_owner(aggregator: &Aggregator) {
    let owns = async || {
        aggregator
            .pool_statuses()
            .iter()
            .any(|(_, status, _)| matches!(status, signalbox_state::RoleStatus::Owner(_)))
    };
    eventually("the aggregator owns the pool", owns).await;
}

async fn metric(aggregator: &Aggregator, line: &str) -> bool {
    http::get(aggregator.metrics_address(), "/metrics").await.1.lines().any(|found| found == line)
}

#[tokio::test]
async fn feedback_of_an_origin_of_another_process_is_refused() {
    let sets = watch::Sender::new(set(&[("p", 9001)]));
    let aggregator = start("one", sets.subscribe(), None, TIMEOUT).await;
    is_owner(&aggregator).await;
    let mut client = connect(&aggregator, |endpoint| endpoint).await;
    // The origin belongs to whichever of the two arrives first.
    let (mut one, _batches_of_one) = feed(&mut client, "epp-1", 7).await;
    let (mut other, _batches_of_other) = feed(&mut client, "epp-2", 7).await;
    let refused = async {
        tokio::select! {
            ended = one.message() => ended.unwrap_err(),
            ended = other.message() => ended.unwrap_err(),
        }
    };
    let refused = tokio::time::timeout(TIMEOUT, refused).await.unwrap();
    assert_eq!(Code::PermissionDenied, refused.code(), "{refused}");
    assert!(refused.message().contains("belongs to another process"), "{refused}");
    let counted = "signalbox_aggregator_refused_streams_total 1";
    eventually("the refusal is counted", async || metric(&aggregator, counted).await).await;
    aggregator.stop().await;
}

/// Opens a follower's stream on which nothing is read.
async fn follow_without_reading(aggregator: &Aggregator, name: &str) -> impl Sized + use<> {
    let mut client = connect(aggregator, |endpoint| endpoint.initial_stream_window_size(64)).await;
    let cursor = FromFollower::Cursor(Cursor {
        version: None,
        epoch: 0,
        heard: HeardOwner::Nobody,
        ..Cursor::default()
    });
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    sender.send(signalbox_wire::encode_follower_message(Some(&hello(name)), cursor)).await.unwrap();
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    (client.subscribe(messages).await.unwrap(), sender, client)
}

#[tokio::test]
async fn followers_that_do_not_read_do_not_keep_snapshots_from_others() {
    let mut pools = set(&[("p", 9001)]);
    let pool = pools.pools.get_mut(&id("p")).unwrap();
    let mut spec = PoolSpec::clone(&pool.spec);
    let first = spec.endpoints[0].clone();
    spec.endpoints = (0..ENDPOINTS)
        .map(|number| EndpointSpec {
            name: format!("p-pod-{number}"),
            address: ([127, 0, 0, 1], 9001 + number).into(),
            ..first.clone()
        })
        .collect();
    pool.spec = Arc::new(spec);
    let sets = watch::Sender::new(pools);
    let aggregator = start("one", sets.subscribe(), None, TIMEOUT).await;
    is_owner(&aggregator).await;
    let mut frozen = Vec::new();
    for number in 0..SNAPSHOTS_AT_A_TIME {
        frozen.push(follow_without_reading(&aggregator, &format!("frozen-{number}")).await);
    }
    let sent =
        format!("signalbox_aggregator_snapshots_sent_total{{pool=\"default/p\"}} {SNAPSHOTS_AT_A_TIME}");
    eventually("the places for snapshots are taken", async || metric(&aggregator, &sent).await).await;
    let connections = Connections::new(Security::Local);
    let mut follower = Followed::start(&aggregator, &connections, "p");
    follower.wait("endpoint p-pod-0").await;
    let dropped = format!("signalbox_aggregator_followers_dropped_total {SNAPSHOTS_AT_A_TIME}");
    eventually("those that do not read are dropped", async || metric(&aggregator, &dropped).await).await;
    aggregator.stop().await;
}
