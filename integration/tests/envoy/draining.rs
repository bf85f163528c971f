//! Tests pods that drain: they keep their running requests and get no new ones.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use signalbox_integration::{
    CompletionRequest, Pod, PodConfig, ResponseFormat, TestCluster, TestClusterConfig, Upload,
};

const COMPLETIONS: &str = "/v1/completions";

/// A pod with the speed of a real one: it generates 2,000 tokens for at least 10 seconds.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

const LONG: CompletionRequest =
    CompletionRequest { topic: 1, bytes: 2_000, max_tokens: Some(2_000), format: ResponseFormat::Events };

/// Returns whether exactly the candidates with these names are draining.
fn are_draining(candidates: &[Value], names: &[&str]) -> bool {
    let draining = candidates.iter().filter(|candidate| candidate["removed_by"] == "draining");
    let draining: BTreeSet<_> = draining.filter_map(|candidate| candidate["endpoint"].as_str()).collect();
    draining == names.iter().copied().collect()
}

#[tokio::test]
async fn draining_pod_finishes_its_requests_and_gets_no_new_ones() {
    let config = TestClusterConfig { pods: 2, pod: SLOW, ..TestClusterConfig::default() };
    let cluster = TestCluster::start(config).await.unwrap();
    let url = format!("{}{COMPLETIONS}", cluster.envoy().url());
    let running =
        cluster.client.send_streaming(Method::POST, &url, LONG.body(), Upload::Whole).await.unwrap();
    let draining = running.headers()["x-signalbox-pod"].to_str().unwrap().to_owned();
    let mut body = running.into_body();
    body.frame().await.unwrap().unwrap();

    cluster.drain_pods(&[&draining]).unwrap();
    let keeps_its_booking = |candidates: &[Value]| {
        let pod = candidates.iter().find(|candidate| candidate["endpoint"] == *draining);
        are_draining(candidates, &[&draining]) && pod.is_some_and(|pod| pod["requests"] == 1)
    };
    cluster.wait_for_candidates("the pod drains and its request is booked", keeps_its_booking).await.unwrap();
    // The same prompt: the pod that drains has it in its cache.
    let again = CompletionRequest { max_tokens: Some(1), ..LONG };
    for _ in 0..6 {
        assert_ne!(draining, cluster.complete(&again).await.unwrap().pod().unwrap());
    }
    cluster.wait_for_metric("draining_endpoints", |draining| draining == 1.0).await.unwrap();
    cluster.wait_for_metric("endpoints", |serving| serving == 1.0).await.unwrap();
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: [DONE]\n\n"), "the running request was cut off");

    let all: Vec<_> = cluster.pods.iter().map(Pod::name).collect();
    cluster.drain_pods(&all).unwrap();
    cluster.wait_for_candidates("all pods drain", |candidates| are_draining(candidates, &all)).await.unwrap();
    let refused = cluster.send(Method::POST, COMPLETIONS, again.body(), Upload::Whole).await.unwrap();
    assert_eq!(StatusCode::SERVICE_UNAVAILABLE, refused.status, "{refused:?}");

    cluster.drain_pods(&[]).unwrap();
    cluster.wait_for_candidates("no pod drains", |candidates| are_draining(candidates, &[])).await.unwrap();
    let explanation = cluster.epps[0].explain(&cluster.client, again.body()).await.unwrap();
    let candidates = explanation["candidates"].as_array().unwrap();
    let held = candidates.iter().map(|candidate| candidate["cached_tokens"].as_u64().unwrap());
    assert!(held.min() > Some(0), "a pod lost what it had in its cache: {explanation}");
}
