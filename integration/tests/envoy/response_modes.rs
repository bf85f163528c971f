//! Tests gateways that hide responses, or their ends, from the EPP.

use anyhow::ensure;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use signalbox_integration::{
    CompletionRequest, PodConfig, ResponseFormat, ResponseMode, TestCluster, TestClusterConfig, Upload,
    eventually,
};

/// A pod with the speed of a real one, so that the response outlasts the checks.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

fn config(response_mode: ResponseMode) -> TestClusterConfig {
    TestClusterConfig { pods: 2, pod: SLOW, epps: 1, response_mode, ..TestClusterConfig::default() }
}

/// Returns a request whose response takes seconds.
fn long_request() -> CompletionRequest {
    CompletionRequest { topic: 1, bytes: 300, max_tokens: Some(1_000), format: ResponseFormat::Events }
}

/// Sends a request and waits until the replica has this many streams and one booking while the response is
/// streaming. Then reads the whole response and waits until the booking has ended.
async fn check_booked(cluster: &TestCluster, streams: f64) -> anyhow::Result<()> {
    let (epp, client) = (&cluster.epps[0], &cluster.client);
    let url = format!("{}/v1/completions", cluster.envoy().url());
    let response = client.send_streaming(Method::POST, &url, long_request().body(), Upload::Whole).await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    let booked = async || {
        let (open, own) =
            (epp.metric(client, "open_streams").await?, epp.metric(client, "own_in_flight_requests").await?);
        ensure!(open == streams && own == 1.0, "{open} streams, {own} bookings");
        Ok(())
    };
    eventually("the request is booked while its response is streaming", booked).await?;
    let response = response.into_body().collect().await?.to_bytes();
    ensure!(response.ends_with(b"data: [DONE]\n\n"), "the response is cut off");
    cluster.wait_for_metric("own_in_flight_requests", |requests| requests == 0.0).await
}

#[tokio::test]
async fn bookings_are_detached_when_the_end_of_the_response_is_hidden() {
    let cluster = TestCluster::start(config(ResponseMode::HeadersOnly)).await.unwrap();
    check_booked(&cluster, 0.0).await.unwrap();
    cluster.wait_for_metric("detached_bookings_total", |detached| detached == 1.0).await.unwrap();
}

#[tokio::test]
async fn bookings_end_with_the_response_when_only_its_body_is_hidden() {
    let cluster = TestCluster::start(config(ResponseMode::HeadersAndEnd)).await.unwrap();
    check_booked(&cluster, 1.0).await.unwrap();
}

#[tokio::test]
async fn bookings_end_with_the_response_when_it_is_visible() {
    let cluster = TestCluster::start(config(ResponseMode::FullDuplex)).await.unwrap();
    check_booked(&cluster, 1.0).await.unwrap();
    cluster.wait_for_metric("detached_bookings_total", |detached| detached == 0.0).await.unwrap();
}
