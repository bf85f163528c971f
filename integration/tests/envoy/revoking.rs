//! Tests requests in flight that give up their places to more important ones.

use anyhow::{bail, ensure};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use signalbox_integration::{
    CompletionRequest, Response, ResponseFormat, TIER_OBJECTIVES, TestCluster, TestClusterConfig, Upload,
    eventually,
};
use tokio::task::JoinHandle;

const COMPLETIONS: &str = "/v1/completions";

const CONFIGURATION: &str = "\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins: [{ type: queue-scorer }]
flowControl: { enableEviction: true }
";

const SHEDDABLE: [(&str, &str); 1] = [("x-llm-d-inference-objective", "sheddable")];
const CRITICAL: [(&str, &str); 1] = [("x-llm-d-inference-objective", "critical")];

/// The priority of the tier `sheddable`.
const SHEDDABLE_PRIORITY: &str = "-10";

/// Starts a wedged pod and replicas that know the priorities of the tiers.
async fn start() -> anyhow::Result<TestCluster> {
    let cluster = TestCluster::start(TestClusterConfig {
        pods: 1,
        epp_flags: &["--config-text", CONFIGURATION],
        ..TestClusterConfig::default()
    })
    .await?;
    cluster.add_documents(TIER_OBJECTIVES)?;
    let are_known = async || {
        send(&cluster, &SHEDDABLE, 0).await??.ok()?;
        for epp in &cluster.epps {
            let page = epp.metrics_page(&cluster.client).await?;
            let counts = page.by_label("llm_d_epp_flow_control_requests_total", "priority");
            ensure!(counts.contains_key(SHEDDABLE_PRIORITY), "a replica had no request of this priority");
        }
        Ok(())
    };
    eventually("each replica knows the priority of sheddable requests", are_known).await?;
    cluster.pods[0].wedge(&cluster.client).await?;
    Ok(cluster)
}

/// Sends a request whose response comes in one piece: its headers come with the end of its output.
fn send(
    cluster: &TestCluster,
    headers: &'static [(&str, &str)],
    topic: u64,
) -> JoinHandle<anyhow::Result<Response>> {
    let (client, url) = (cluster.client.clone(), format!("{}{COMPLETIONS}", cluster.envoy().url()));
    let body = CompletionRequest::small(topic).body();
    tokio::spawn(async move { client.send_with(Method::POST, &url, headers, (body, Upload::Whole)).await })
}

/// Waits until all replicas together have so many requests in flight.
async fn wait_in_flight(cluster: &TestCluster, requests: usize) -> anyhow::Result<()> {
    let check = async || {
        let in_flight = sum(cluster, "signalbox_epp_own_in_flight_requests").await?;
        ensure!(in_flight == requests as f64, "{in_flight} requests are in flight");
        Ok(())
    };
    eventually(&format!("{requests} requests are in flight"), check).await
}

/// Sends sheddable requests until each replica has one in flight.
async fn send_to_all_replicas(
    cluster: &TestCluster,
) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<Response>>>> {
    let mut sent = Vec::new();
    for topic in 0..8 {
        sent.push(send(cluster, &SHEDDABLE, topic));
        wait_in_flight(cluster, sent.len()).await?;
        let metrics = cluster.epps.iter().map(|epp| epp.metric(&cluster.client, "own_in_flight_requests"));
        let in_flight: Vec<f64> = join_all(metrics).await.into_iter().collect::<Result<_, _>>()?;
        if in_flight.iter().all(|requests| *requests > 0.0) {
            return Ok(sent);
        }
    }
    bail!("Envoy sends all requests to one replica")
}

/// Lets the pod say that its KV cache is full, until each replica knows.
async fn fill(cluster: &TestCluster) -> anyhow::Result<()> {
    cluster.pods[0].wedge_full(&cluster.client).await?;
    let is_known = async || {
        for epp in &cluster.epps {
            let page = epp.metrics_page(&cluster.client).await?;
            let saturation = page.sum("llm_d_epp_flow_control_pool_saturation").unwrap_or(0.0);
            ensure!(saturation >= 1.0, "the saturation is {saturation}");
        }
        Ok(())
    };
    eventually("each replica knows that the pool is full", is_known).await
}

/// Returns the sum of a metric over all replicas.
async fn sum(cluster: &TestCluster, family: &str) -> anyhow::Result<f64> {
    let pages = join_all(cluster.epps.iter().map(|epp| epp.metrics_page(&cluster.client))).await;
    pages.into_iter().map(|page| Ok(page?.sum(family).unwrap_or(0.0))).sum()
}

fn check_evicted(response: &Response) -> anyhow::Result<()> {
    ensure!(response.status == StatusCode::TOO_MANY_REQUESTS, "{response:?}");
    ensure!(response.header("x-llm-d-request-dropped-reason")? == "evicted", "{response:?}");
    ensure!(response.text()?.contains("request evicted by flow control"), "{response:?}");
    response.header("retry-after")?;
    Ok(())
}

/// The pod goes on to say that it is full, so all give up their places in the end: those at the critical request's own replica and
/// those at the other one.
#[tokio::test]
async fn sheddable_requests_at_all_replicas_give_up_their_places_to_a_critical_one() {
    let cluster = start().await.unwrap();
    let sheddable = send_to_all_replicas(&cluster).await.unwrap();
    let count = sheddable.len() as f64;
    fill(&cluster).await.unwrap();
    let critical = send(&cluster, &CRITICAL, 9);
    for request in join_all(sheddable).await {
        check_evicted(&request.unwrap().unwrap()).unwrap();
    }
    wait_in_flight(&cluster, 0).await.unwrap();
    assert_eq!(count, sum(&cluster, "llm_d_epp_flow_control_revocations_issued_total").await.unwrap());
    assert_eq!(count, sum(&cluster, "llm_d_epp_flow_control_revocations_total").await.unwrap());
    cluster.pods[0].clear_faults(&cluster.client).await.unwrap();
    critical.await.unwrap().unwrap().ok().unwrap();
}

#[tokio::test]
async fn request_whose_response_has_begun_keeps_its_place() {
    let cluster = start().await.unwrap();
    let streamed = CompletionRequest { format: ResponseFormat::Events, ..CompletionRequest::small(0) };
    let (client, url) = (&cluster.client, format!("{}{COMPLETIONS}", cluster.envoy().url()));
    let sent = (streamed.body(), Upload::Whole);
    let begun = client.send_streaming_with(Method::POST, &url, &SHEDDABLE, sent).await.unwrap();
    assert_eq!(StatusCode::OK, begun.status());
    let unanswered = send(&cluster, &SHEDDABLE, 1);
    wait_in_flight(&cluster, 2).await.unwrap();
    fill(&cluster).await.unwrap();
    let critical = send(&cluster, &CRITICAL, 2);
    check_evicted(&unanswered.await.unwrap().unwrap()).unwrap();
    wait_in_flight(&cluster, 1).await.unwrap();
    cluster.pods[0].clear_faults(&cluster.client).await.unwrap();
    critical.await.unwrap().unwrap().ok().unwrap();
    let body = http_body_util::BodyExt::collect(begun.into_body()).await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"), "{body:?}");
    assert_eq!(1.0, sum(&cluster, "llm_d_epp_flow_control_revocations_issued_total").await.unwrap());
}
