//! Requests that wait at two replicas of one pool: the pool's owner says which goes first.

use std::time::Duration;

use serde_json::Value;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response as Answer;

use crate::replica::{ENDPOINTS, OpenStream, Replica};

/// A prompt that keeps an endpoint busy for longer than the test takes: half a million tokens.
const LONG: usize = 2 << 20;

/// Time limit for conditions that must come true.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until what the replica serves at `path` is as `is_so` wants it.
async fn wait_for(replica: &Replica, path: &str, is_so: impl Fn(&str) -> bool) {
    let until = async {
        while !is_so(&replica.get(path).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is_in_time = tokio::time::timeout(TIMEOUT, until).await.is_ok();
    assert!(is_in_time, "{path}: {}", replica.get(path).await);
}

/// Waits until the replica knows that so many requests wait everywhere.
async fn wait_queued(replica: &Replica, requests: u64) {
    let is_so = |page: &str| {
        let queues: Value = serde_json::from_str(page).unwrap();
        let bands = queues["everywhere"].as_array().unwrap().iter();
        bands.filter_map(|band| band["requests"].as_u64()).sum::<u64>() == requests
    };
    wait_for(replica, "/queues", is_so).await;
}

async fn answer(stream: &mut OpenStream) -> Option<Answer> {
    let answer = tokio::time::timeout(TIMEOUT, stream.answers.message()).await;
    answer.expect("there is no answer").unwrap().and_then(|answer| answer.response)
}

#[tokio::test]
async fn higher_priority_goes_first_whichever_replica_it_waits_at() {
    let first = Replica::start(8, None).await;
    let second = first.start_another().await;
    let mut running = Vec::new();
    for letter in ["a", "b", "c"].into_iter().take(ENDPOINTS.into()) {
        let mut stream = first.send(&[], letter, LONG).await;
        assert!(matches!(answer(&mut stream).await, Some(Answer::RequestHeaders(_))), "it has room");
        running.push(stream);
    }
    let booked = format!("signalbox_epp_peer_in_flight_requests{{pool=\"default/traced\"}} {ENDPOINTS}");
    wait_for(&second, "/metrics", |page| page.contains(&booked)).await;
    // The standard one waits first, at the other replica.
    let mut standard = second.send(&[], "d", LONG).await;
    wait_queued(&first, 1).await;
    let interactive = [("x-llm-d-inference-objective", "interactive")];
    let mut critical = first.send(&interactive, "e", LONG).await;
    wait_queued(&second, 2).await;
    drop(running.pop());
    assert!(matches!(answer(&mut critical).await, Some(Answer::RequestHeaders(_))));
    wait_queued(&second, 1).await;
    let decision: Value = serde_json::from_str(&first.get("/decisions?limit=1").await).unwrap();
    assert!(decision[0]["waited"]["ms"].is_u64(), "{decision}");
    assert_eq!(10, decision[0]["request"]["priority"], "{decision}");
    drop(running.pop());
    assert!(matches!(answer(&mut standard).await, Some(Answer::RequestHeaders(_))));
    wait_queued(&second, 0).await;
    drop((running, critical, standard));
    second.stop().await;
    first.stop().await;
}
