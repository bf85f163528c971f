//! Tests the kill of an EPP replica.

use anyhow::ensure;
use futures_util::future::join_all;
use signalbox_integration::{
    CompletionRequest, PodConfig, ResponseFormat, TestCluster, TestClusterConfig, eventually,
};

/// A pod with the speed of a real one, so that responses outlast the steps of the test.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

/// Returns a request whose response takes seconds.
fn long_request(topic: u64) -> CompletionRequest {
    CompletionRequest { topic, bytes: 300, max_tokens: Some(1_000), format: ResponseFormat::Events }
}

#[tokio::test]
async fn killed_replica_leaves_no_bookings_at_the_other() {
    let mut cluster =
        TestCluster::start(TestClusterConfig { pod: SLOW, ..TestClusterConfig::default() }).await.unwrap();
    let mut victim = cluster.epps.remove(0);
    let survivor = &cluster.epps[0];
    let load = join_all((0..24).map(|topic| {
        let cluster = &cluster;
        async move { cluster.complete(&long_request(topic)).await }
    }));
    let kill = async {
        let booked = async || {
            let own = victim.metric(&cluster.client, "own_in_flight_requests").await?;
            let others = survivor.metric(&cluster.client, "peer_in_flight_requests").await?;
            ensure!(own > 0.0 && own == others, "the victim has {own} bookings, the survivor knows {others}");
            let mine = survivor.metric(&cluster.client, "own_in_flight_requests").await?;
            ensure!(own + mine == 24.0, "{own} and {mine} of 24");
            Ok(own)
        };
        let booked = eventually("the survivor knows the victim's bookings", booked).await.unwrap();
        victim.kill().unwrap();
        let gone = |others| others == 0.0;
        cluster.wait_for_metric("peer_in_flight_requests", gone).await.unwrap();
        booked
    };
    let (responses, booked) = futures_util::future::join(load, kill).await;
    // Only the victim's responses break: they pass through the replica and end with it.
    let broken = responses.iter().filter(|response| response.is_err()).count();
    assert!(broken as f64 <= booked, "{broken} responses broke, but the victim had {booked}");
    cluster.envoy().wait_for_healthy_replicas(&cluster.client, 1).await.unwrap();
    cluster.wait_for_metric("own_in_flight_requests", |requests| requests == 0.0).await.unwrap();
    for topic in 100..120 {
        cluster.complete(&CompletionRequest::small(topic)).await.unwrap();
    }
}
