//! Tests requests that wait at the replicas while all pods are full.

use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join_all};
use http::StatusCode;
use signalbox_integration::{
    CompletionRequest, Response, TIER_OBJECTIVES, TestCluster, TestClusterConfig, Upload, eventually,
};
use tokio::task::JoinSet;

const COMPLETIONS: &str = "/v1/completions";

/// The priority of the tier `sheddable`.
const SHEDDABLE: &str = "-10";

const REQUESTS: u64 = 20;

/// Starts replicas that let requests wait, as they do by default.
async fn start() -> anyhow::Result<TestCluster> {
    TestCluster::start(TestClusterConfig::default()).await
}

/// Lets all pods say that their KV caches are full and that requests wait, until each replica knows.
async fn fill(cluster: &TestCluster) -> anyhow::Result<()> {
    for pod in &cluster.pods {
        pod.override_metrics(&cluster.client, 0.99, 3).await?;
    }
    let pods = cluster.pods.len();
    let are_full = |candidates: &[serde_json::Value]| {
        candidates.iter().filter(|candidate| candidate["tier"] == "full").count() == pods
    };
    cluster.wait_for_candidates("all pods are full", are_full).await
}

/// Sends small requests, each of another topic.
fn send(cluster: &TestCluster, count: u64) -> JoinSet<anyhow::Result<Response>> {
    let mut requests = JoinSet::new();
    for topic in 1..=count {
        let (client, url) = (cluster.client.clone(), format!("{}{COMPLETIONS}", cluster.envoy().url()));
        let body = CompletionRequest::small(topic).body();
        requests.spawn(async move { client.post(&url, body).await?.ok() });
    }
    requests
}

/// Waits until so many requests wait at all replicas together.
async fn wait_queued(cluster: &TestCluster, count: u64) -> anyhow::Result<()> {
    let check = async || {
        let pages = join_all(cluster.epps.iter().map(|epp| epp.metrics_page(&cluster.client))).await;
        let mut queued = 0.0;
        for page in pages {
            queued += page?.sum("llm_d_epp_flow_control_queue_size").unwrap_or(0.0);
        }
        ensure!(queued == count as f64, "{queued} requests wait");
        Ok(())
    };
    eventually(&format!("{count} requests wait"), check).await
}

async fn send_sheddable(cluster: &TestCluster) -> anyhow::Result<Response> {
    let headers = [("x-llm-d-inference-objective", "sheddable")];
    cluster.send_with(COMPLETIONS, &headers, (CompletionRequest::small(0).body(), Upload::Whole)).await
}

/// Waits until each replica knows the priorities of the tiers.
async fn add_tiers(cluster: &TestCluster) -> anyhow::Result<()> {
    cluster.add_documents(TIER_OBJECTIVES)?;
    let are_known = async || {
        send_sheddable(cluster).await?.ok()?;
        for epp in &cluster.epps {
            let page = epp.metrics_page(&cluster.client).await?;
            let counts = page.by_label("llm_d_epp_flow_control_requests_total", "priority");
            counts.get(SHEDDABLE).context("a replica had no request of this priority")?;
        }
        Ok(())
    };
    eventually("each replica knows the priority of sheddable requests", are_known).await
}

#[tokio::test]
async fn requests_wait_for_the_first_pod_with_room_and_sheddable_ones_are_refused() {
    let cluster = start().await.unwrap();
    add_tiers(&cluster).await.unwrap();
    fill(&cluster).await.unwrap();
    let requests = send(&cluster, REQUESTS);
    wait_queued(&cluster, REQUESTS).await.unwrap();
    // As many as there are replicas: Envoy alternates between them.
    for refused in try_join_all(cluster.epps.iter().map(|_| send_sheddable(&cluster))).await.unwrap() {
        assert_eq!(StatusCode::TOO_MANY_REQUESTS, refused.status, "{refused:?}");
        assert_eq!("rejected-saturated", refused.header("x-llm-d-request-dropped-reason").unwrap());
        refused.header("retry-after").unwrap();
    }
    let free = &cluster.pods[1];
    free.override_metrics(&cluster.client, 0.0, 0).await.unwrap();
    for response in requests.join_all().await {
        let served = cluster.check_served_as_picked(response.as_ref().unwrap()).unwrap();
        assert_eq!(free.name(), served.name());
    }
    wait_queued(&cluster, 0).await.unwrap();
}

#[tokio::test]
async fn requests_wait_for_the_first_pod_of_an_empty_pool() {
    let cluster = start().await.unwrap();
    cluster.list_pods(&[]).unwrap();
    cluster.wait_for_candidates("there is no pod", <[_]>::is_empty).await.unwrap();
    let requests = send(&cluster, REQUESTS);
    wait_queued(&cluster, REQUESTS).await.unwrap();
    cluster.list_pods(&cluster.pods).unwrap();
    for response in requests.join_all().await {
        cluster.check_served_as_picked(response.as_ref().unwrap()).unwrap();
    }
    wait_queued(&cluster, 0).await.unwrap();
}

#[tokio::test]
async fn requests_that_are_given_up_while_they_wait_leave_nothing() {
    let cluster = start().await.unwrap();
    fill(&cluster).await.unwrap();
    let mut requests = send(&cluster, REQUESTS);
    wait_queued(&cluster, REQUESTS).await.unwrap();
    requests.shutdown().await;
    wait_queued(&cluster, 0).await.unwrap();
    for gauge in ["open_streams", "own_in_flight_requests", "buffered_body_bytes"] {
        cluster.wait_for_metric(gauge, |value| value == 0.0).await.unwrap();
    }
    for pod in &cluster.pods {
        pod.clear_faults(&cluster.client).await.unwrap();
    }
    cluster.complete(&CompletionRequest::small(0)).await.unwrap();
}
