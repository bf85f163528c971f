//! What the stream of a follower tells when its pool is removed.

use std::time::Duration;

use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{Cursor, FromFollower};
use signalbox_wire::Hello;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{TIMEOUT, fleet_of, id, set, start, wait_for};

#[tokio::test]
async fn stream_of_a_removed_pool_ends_with_the_reason() {
    let sets = watch::Sender::new(set(&[("goes", 9001)]));
    let aggregator = start("one", sets.subscribe(), None, Duration::ZERO).await;
    let mut fleet = fleet_of(&[&aggregator]);
    wait_for(&mut fleet, |fleet| fleet.pools.contains_key(&id("goes"))).await;
    let mut client = PoolClient::connect(format!("http://{}", aggregator.address())).await.unwrap();
    let hello = Hello { pool: Some("default/goes".to_owned()), name: "follower".to_owned() };
    let first =
        signalbox_wire::encode_follower_message(Some(&hello), FromFollower::Cursor(Cursor::default()));
    let (messages, outgoing) = mpsc::channel(1);
    messages.send(first).await.unwrap();
    let mut frames = client.subscribe(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    frames.message().await.unwrap().expect("the aggregator serves the pool");
    sets.send_replace(set(&[]));
    let ended = async {
        loop {
            match frames.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("the stream ended without a reason"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(TIMEOUT, ended).await.expect("the stream ends");
    assert_eq!(
        (Code::FailedPrecondition, "pool default/goes was removed"),
        (status.code(), status.message())
    );
    aggregator.stop().await;
}
