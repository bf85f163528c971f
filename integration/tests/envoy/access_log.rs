//! Tests gateways that do not send responses to the EPP: it learns the ends of requests from the access log.

use anyhow::{Context, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use signalbox_integration::{
    CompletionRequest, PodConfig, Response, ResponseFormat, ResponseMode, TestCluster, TestClusterConfig,
    Upload, eventually,
};

/// A pod with the speed of a real one, so that responses outlast the checks.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

const REQUESTS: u64 = 24;

fn config(response_mode: ResponseMode) -> TestClusterConfig {
    TestClusterConfig { pods: 2, pod: SLOW, response_mode, ..TestClusterConfig::default() }
}

fn streamed(topic: u64, tokens: u32) -> CompletionRequest {
    CompletionRequest { topic, bytes: 300, max_tokens: Some(tokens), format: ResponseFormat::Events }
}

/// Returns the sum of a metric over all replicas.
async fn sum(cluster: &TestCluster, name: &str) -> anyhow::Result<f64> {
    let of_each = join_all(cluster.epps.iter().map(|epp| epp.metric(&cluster.client, name))).await;
    of_each.into_iter().sum()
}

/// Waits until all replicas together have this many streams and bookings.
async fn wait_streams_and_bookings(cluster: &TestCluster, streams: f64, bookings: f64) -> anyhow::Result<()> {
    let check = async || {
        let (open, own) =
            (sum(cluster, "open_streams").await?, sum(cluster, "own_in_flight_requests").await?);
        ensure!(open == streams && own == bookings, "{open} streams, {own} bookings");
        Ok(())
    };
    eventually(&format!("{streams} streams, {bookings} bookings"), check).await
}

/// Waits until an access log entry for each of this many requests reached the replica that booked it, and nothing is
/// booked. Every detached booking must have ended by its entry.
///
/// Not every booking has to be detached: on a busy machine a stream can stay open so long after its last answer that
/// its replica takes its end for that of the response.
async fn wait_reported(cluster: &TestCluster, requests: u64) -> anyhow::Result<()> {
    let check = async || {
        let mut reported = 0.0;
        for epp in &cluster.epps {
            let page = epp.metrics_page(&cluster.client).await?;
            let entries = page.by_label("signalbox_epp_access_log_entries_total", "outcome");
            reported +=
                ["own", "already_settled"].iter().filter_map(|outcome| entries.get(*outcome)).sum::<f64>();
        }
        ensure!(reported == requests as f64, "the ends of {reported} requests were reported");
        Ok(())
    };
    eventually("the end of each request is reported to the replica that booked it", check).await?;
    wait_streams_and_bookings(cluster, 0.0, 0.0).await?;
    let expired = sum(cluster, "detached_bookings_expired_total").await?;
    let timed = sum(cluster, "access_log_first_byte_seconds_count").await?;
    let detached = sum(cluster, "detached_bookings_total").await?;
    ensure!(
        expired == 0.0 && timed == detached,
        "{expired} of {detached} bookings expired, {timed} ended by their entries"
    );
    Ok(())
}

/// Waits until exactly this many bookings were detached, and all of them ended by their entries.
async fn wait_ended(cluster: &TestCluster, requests: u64) -> anyhow::Result<()> {
    let check = async || {
        let detached = sum(cluster, "detached_bookings_total").await?;
        ensure!(detached == requests as f64, "{detached} bookings were detached");
        Ok(())
    };
    eventually("all bookings are detached from their streams", check).await?;
    wait_reported(cluster, requests).await
}

/// Checks that a request stays booked after its stream until its response ends, whichever replica receives
/// the access log entry.
async fn check_ends_are_learned(mode: ResponseMode) -> anyhow::Result<()> {
    let cluster = TestCluster::start(config(mode)).await?;
    // The replicas do not know yet that there is an access log: the first booking may expire early.
    cluster.complete(&streamed(0, 3)).await?;
    wait_ended(&cluster, 1).await?;
    let url = format!("{}/v1/completions", cluster.envoy().url());
    let response =
        cluster.client.send_streaming(Method::POST, &url, streamed(1, 1_000).body(), Upload::Whole).await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    wait_streams_and_bookings(&cluster, 0.0, 1.0).await?;
    let response = response.into_body().collect().await?.to_bytes();
    ensure!(response.ends_with(b"data: [DONE]\n\n"), "the response was cut");
    wait_ended(&cluster, 2).await?;
    try_join_all((2..REQUESTS).map(|topic| {
        let cluster = &cluster;
        async move { cluster.complete(&streamed(topic, 20)).await }
    }))
    .await?;
    wait_reported(&cluster, REQUESTS).await?;
    // Each of Envoy's workers sends its log to one replica, and requests to all.
    let relayed = sum(&cluster, "access_log_entries_total").await? - REQUESTS as f64;
    ensure!(relayed > 0.0, "every entry reached the replica with the booking; none was relayed");
    Ok(())
}

#[tokio::test]
async fn ends_are_learned_without_responses() {
    check_ends_are_learned(ResponseMode::AccessLog).await.unwrap();
}

#[tokio::test]
async fn ends_are_learned_with_response_headers() {
    check_ends_are_learned(ResponseMode::HeadersAndAccessLog).await.unwrap();
}

#[tokio::test]
async fn killed_replica_breaks_no_response() {
    let mut cluster = TestCluster::start(config(ResponseMode::AccessLog)).await.unwrap();
    let mut victim = cluster.epps.remove(0);
    // No response ends before the kill, however slow the machine is.
    try_join_all(cluster.pods.iter().map(|pod| pod.wedge(&cluster.client))).await.unwrap();
    let url = format!("{}/v1/completions", cluster.envoy().url());
    let begin = |topic| {
        let (client, url, body) = (&cluster.client, &url, streamed(topic, 500).body());
        async move { client.send_streaming(Method::POST, url, body, Upload::Whole).await }
    };
    let mut responses = try_join_all((0..REQUESTS).map(begin)).await.unwrap();
    let mut topics = REQUESTS..;
    let booked = async || {
        ensure!(victim.metric(&cluster.client, "open_streams").await? == 0.0, "a pick is in progress");
        if victim.metric(&cluster.client, "own_in_flight_requests").await? == 0.0 {
            // All its requests went to the other replica, or on a busy machine the replica took the late ends of
            // their streams for those of the responses.
            responses.push(begin(topics.next().context("no more topics")?).await?);
            bail!("the victim has booked nothing");
        }
        Ok(())
    };
    eventually("all responses have begun, and the victim has bookings without streams", booked)
        .await
        .unwrap();
    victim.kill().unwrap();
    try_join_all(cluster.pods.iter().map(|pod| pod.clear_faults(&cluster.client))).await.unwrap();
    for response in responses {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the response is not cut off").to_bytes();
        let response = Response { status: parts.status, headers: parts.headers, body }.ok().unwrap();
        assert!(response.text().unwrap().ends_with("data: [DONE]\n\n"));
        cluster.check_served_as_picked(&response).unwrap();
    }
    wait_streams_and_bookings(&cluster, 0.0, 0.0).await.unwrap();
}

#[tokio::test]
async fn failures_are_learned_from_the_access_log() {
    let cluster = TestCluster::start(TestClusterConfig {
        pod: PodConfig::default(),
        ..config(ResponseMode::AccessLog)
    })
    .await
    .unwrap();
    let bad = &cluster.pods[0];
    bad.fail_all_requests(&cluster.client).await.unwrap();
    let mut topics = 0..;
    let is_failing = async || {
        // Requests fail until the replicas notice.
        let body = CompletionRequest::small(topics.next().context("no more topics")?).body();
        cluster.send(Method::POST, "/v1/completions", body, Upload::Whole).await?;
        let explanation =
            cluster.epps[0].explain(&cluster.client, CompletionRequest::small(0).body()).await?;
        let mut candidates = explanation["candidates"].as_array().into_iter().flatten();
        let is_known = candidates.any(|one| one["endpoint"] == bad.name() && one["tier"] == "failing");
        ensure!(is_known, "{explanation}");
        Ok(())
    };
    eventually("a replica knows that the pod is failing", is_failing).await.unwrap();
}
