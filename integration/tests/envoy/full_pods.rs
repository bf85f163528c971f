//! Tests routing when pods are full.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::Value;
use signalbox_integration::{CompletionRequest, TestCluster, TestClusterConfig};

/// Returns how many candidates are in this tier.
fn count_in_tier(candidates: &[Value], tier: &str) -> usize {
    candidates.iter().filter(|candidate| candidate["tier"] == tier).count()
}

#[tokio::test]
async fn full_pod_gets_no_requests_while_another_is_free() {
    let cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    for pod in &cluster.pods[1..] {
        pod.override_metrics(&cluster.client, 0.98, 5).await.unwrap();
    }
    cluster
        .wait_for_candidates("two pods are full", |candidates| count_in_tier(candidates, "full") == 2)
        .await
        .unwrap();
    // Concurrently, so that the free pod has load too.
    let requests: Vec<CompletionRequest> = (0..60).map(CompletionRequest::small).collect();
    let responses = try_join_all(requests.iter().map(|request| cluster.complete(request))).await.unwrap();
    for response in responses {
        assert_eq!(response.pod().unwrap(), cluster.pods[0].name());
    }
}

#[tokio::test]
async fn full_pod_without_a_queue_counts_as_free() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 2, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    cluster.pods[0].override_metrics(&cluster.client, 1.0, 0).await.unwrap();
    cluster.pods[1].override_metrics(&cluster.client, 1.0, 3).await.unwrap();
    cluster
        .wait_for_candidates("one pod is full", |candidates| count_in_tier(candidates, "full") == 1)
        .await
        .unwrap();
    for topic in 0..10 {
        let response = cluster.complete(&CompletionRequest::small(topic)).await.unwrap();
        assert_eq!(response.pod().unwrap(), cluster.pods[0].name());
    }
}

/// By default, requests [wait](super::waiting) for the first pod with room.
#[tokio::test]
async fn shortest_wait_wins_when_all_pods_are_full_and_no_request_waits() {
    let epp_flags = &["--flow-control", "off"];
    let config = TestClusterConfig { epp_flags, ..TestClusterConfig::default() };
    let cluster = TestCluster::start(config).await.unwrap();
    for (pod, waiting) in cluster.pods.iter().zip([400, 3, 200]) {
        pod.override_metrics(&cluster.client, 0.99, waiting).await.unwrap();
    }
    cluster
        .wait_for_candidates("all pods are full", |candidates| count_in_tier(candidates, "full") == 3)
        .await
        .unwrap();
    let mut served: BTreeMap<String, u32> = BTreeMap::new();
    for topic in 0..20 {
        let response = cluster.complete(&CompletionRequest::small(topic)).await.unwrap();
        *served.entry(response.pod().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(served, BTreeMap::from([(cluster.pods[1].name().to_owned(), 20)]));
}
