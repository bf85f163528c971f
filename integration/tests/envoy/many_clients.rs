//! Tests many concurrent clients.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use signalbox_integration::{CompletionRequest, ResponseFormat, TestCluster, TestClusterConfig};

const CLIENTS: u64 = 500;
const REQUESTS_EACH: u64 = 4;

/// Sends the requests of one client and returns the pods that served them.
async fn run_client(cluster: &TestCluster, number: u64) -> anyhow::Result<Vec<String>> {
    let mut pods = Vec::new();
    for request in 0..REQUESTS_EACH {
        let format = if request % 2 == 0 { ResponseFormat::Document } else { ResponseFormat::Events };
        let request =
            CompletionRequest { topic: number << 32 | request, bytes: 2_000, max_tokens: Some(16), format };
        pods.push(cluster.complete(&request).await?.pod()?.to_owned());
    }
    Ok(pods)
}

#[tokio::test]
async fn five_hundred_concurrent_clients_get_no_error() {
    let cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    let served = try_join_all((0..CLIENTS).map(|number| run_client(&cluster, number))).await.unwrap();
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for pod in served.into_iter().flatten() {
        *shares.entry(pod).or_default() += 1;
    }
    assert_eq!(shares.values().sum::<u64>(), CLIENTS * REQUESTS_EACH);
    let least = shares.values().min().copied();
    // An even share of 2,000 requests over three pods is 667; half of that tolerates a busy machine.
    assert!(shares.len() == 3 && least > Some(333), "{shares:?}");
    for gauge in ["own_in_flight_requests", "peer_in_flight_requests", "open_streams"] {
        cluster.wait_for_metric(gauge, |requests| requests == 0.0).await.unwrap();
    }
}
