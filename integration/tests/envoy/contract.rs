//! Tests the ext-proc contract with a real gateway: all body modes, headers, rewrites, and clients that
//! disconnect.

use std::pin::pin;

use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use signalbox_integration::{
    CompletionRequest, PodConfig, RequestMode, ResponseFormat, ResponseMode, TestCluster, TestClusterConfig,
    Upload, eventually,
};

const COMPLETIONS: &str = "/v1/completions";

/// A pod with the speed of a real one.
const SLOW: PodConfig = PodConfig { speed: 1.0, kv_capacity_tokens: 524_288 };

async fn wait_idle(cluster: &TestCluster) -> anyhow::Result<()> {
    for gauge in ["own_in_flight_requests", "open_streams", "buffered_body_bytes"] {
        cluster.wait_for_metric(gauge, |value| value == 0.0).await?;
    }
    Ok(())
}

/// Checks that the picked pod serves a request, and that the EPP reads the prompt if the mode allows it.
async fn check_served(request_mode: RequestMode, response_mode: ResponseMode) -> anyhow::Result<()> {
    let cluster =
        TestCluster::start(TestClusterConfig { request_mode, response_mode, ..TestClusterConfig::default() })
            .await?;
    for format in [ResponseFormat::Document, ResponseFormat::Events] {
        let request = CompletionRequest { topic: 1, bytes: 20_000, max_tokens: Some(4), format };
        cluster.complete(&request).await?;
    }
    let prompt_tokens = cluster.epps[0].metric(&cluster.client, "prompt_tokens_total").await?
        + cluster.epps[1].metric(&cluster.client, "prompt_tokens_total").await?;
    let is_read = matches!(request_mode, RequestMode::FullDuplex | RequestMode::Buffered);
    ensure!(is_read == (prompt_tokens > 0.0), "{request_mode:?}: the EPP read {prompt_tokens} prompt tokens");
    wait_idle(&cluster).await
}

#[tokio::test]
async fn requests_with_buffered_bodies_are_served() {
    check_served(RequestMode::Buffered, ResponseMode::Buffered).await.unwrap();
}

#[tokio::test]
async fn requests_with_streamed_bodies_are_served() {
    check_served(RequestMode::Streamed, ResponseMode::Streamed).await.unwrap();
}

#[tokio::test]
async fn requests_with_hidden_bodies_are_served() {
    check_served(RequestMode::NotSent, ResponseMode::FullDuplex).await.unwrap();
}

/// A pod so slow that two tokens are 32 s apart: longer than the keep-alive timeouts of gateway and replica.
const STALLED: PodConfig = PodConfig { speed: 1.0 / 5_000.0, kv_capacity_tokens: 524_288 };

#[tokio::test]
async fn long_pause_does_not_end_a_response() {
    let cluster =
        TestCluster::start(TestClusterConfig { pods: 1, pod: STALLED, ..TestClusterConfig::default() })
            .await
            .unwrap();
    let request = CompletionRequest {
        bytes: 0,
        max_tokens: Some(2),
        format: ResponseFormat::Events,
        ..CompletionRequest::small(1)
    };
    let response =
        cluster.send(Method::POST, COMPLETIONS, request.body(), Upload::Whole).await.unwrap().ok().unwrap();
    assert!(!response.events().unwrap().is_empty());
    wait_idle(&cluster).await.unwrap();
}

#[tokio::test]
async fn requests_with_trailers_are_served() {
    let cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    for bytes in [300, 200_000] {
        let body = CompletionRequest { bytes, ..CompletionRequest::small(1) }.body();
        let response = cluster
            .send(Method::POST, COMPLETIONS, body.clone(), Upload::Trailers)
            .await
            .unwrap()
            .ok()
            .unwrap();
        cluster.check_served_as_picked(&response).unwrap();
        assert_eq!(body.len().to_string(), response.header("x-signalbox-body-bytes").unwrap());
    }
    wait_idle(&cluster).await.unwrap();
}

/// Checks that a request for one model is served by another one, and that the response has the requested
/// name.
async fn check_rewrite(request_mode: RequestMode, response_mode: ResponseMode) -> anyhow::Result<()> {
    let cluster =
        TestCluster::start(TestClusterConfig { request_mode, response_mode, ..TestClusterConfig::default() })
            .await?;
    for (stream, prompt) in [(false, 8), (true, 8), (true, 20_000)] {
        let prompt = "x".repeat(prompt);
        let body = format!(
            r#"{{"model":"asked for","prompt":"{prompt}","stream":{stream},"seed":9007199254740993}}"#
        );
        let headers = [("x-llm-d-model-name-rewrite", "m")];
        let response =
            cluster.send_with(COMPLETIONS, &headers, (Bytes::from(body), Upload::Whole)).await?.ok()?;
        let models: Vec<Value> = match stream {
            false => vec![response.json()?["model"].clone()],
            true => response.events()?.iter().map(|event| event["model"].clone()).collect(),
        };
        ensure!(!models.is_empty() && models.iter().all(|model| model == "asked for"), "{models:?}");
    }
    wait_idle(&cluster).await
}

#[tokio::test]
async fn models_are_rewritten_and_restored_in_full_duplex() {
    check_rewrite(RequestMode::FullDuplex, ResponseMode::FullDuplex).await.unwrap();
}

#[tokio::test]
async fn models_are_restored_in_streamed_responses() {
    check_rewrite(RequestMode::FullDuplex, ResponseMode::Streamed).await.unwrap();
}

#[tokio::test]
async fn models_are_rewritten_and_restored_in_buffered_bodies() {
    check_rewrite(RequestMode::Buffered, ResponseMode::Buffered).await.unwrap();
}

const REWRITE: &str = "---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: public }
spec:
  poolRef: { name: llama3 }
  rules:
  - matches: [{ model: { value: public } }]
    targets: [{ modelRewrite: m }]
";

#[tokio::test]
async fn rewrite_in_the_endpoints_file_applies_at_every_replica() {
    let cluster = TestCluster::start(TestClusterConfig::default()).await.unwrap();
    cluster.add_documents(REWRITE).unwrap();
    let body = Bytes::from_static(br#"{"model":"public","prompt":"hello"}"#);
    let mut in_a_row = 0;
    let is_applied = async || {
        let response = cluster.send(Method::POST, COMPLETIONS, body.clone(), Upload::Whole).await?;
        in_a_row = if response.status == StatusCode::OK { in_a_row + 1 } else { 0 };
        // Envoy alternates between the two replicas.
        ensure!(in_a_row > 8, "{}", response.status);
        ensure!(response.json()?["model"] == "public", "{response:?}");
        Ok(())
    };
    eventually("every replica applies the rewrite", is_applied).await.unwrap();
}

/// Starts a cluster with the rewrite whose gateway sends requests in this mode.
async fn cluster_with_rewrite(request_mode: RequestMode) -> anyhow::Result<TestCluster> {
    let response_mode = ResponseMode::Streamed;
    let config = TestClusterConfig { request_mode, response_mode, ..TestClusterConfig::default() };
    let cluster = TestCluster::start(config).await?;
    cluster.add_documents(REWRITE)?;
    Ok(cluster)
}

/// Waits until each replica refuses a request with this body because its model exists only as a rewrite.
async fn wait_refused(
    cluster: &TestCluster,
    headers: &[(&str, &str)],
    (body, upload): (&str, Upload),
) -> anyhow::Result<()> {
    let mut in_a_row = 0;
    let is_refused = async || {
        let body = Bytes::from(body.to_owned());
        let response = cluster.send_with(COMPLETIONS, headers, (body, upload)).await?;
        let text = response.json().map(|body| body["error"]["message"].to_string()).unwrap_or_default();
        let is_told = text.contains("`public` exists only as a model rewrite") && text.contains("`m`");
        in_a_row = if response.status == StatusCode::BAD_REQUEST && is_told { in_a_row + 1 } else { 0 };
        ensure!(in_a_row > 8, "{response:?}");
        Ok(())
    };
    eventually("every replica refuses the model", is_refused).await
}

#[tokio::test]
async fn model_that_exists_only_as_a_rewrite_is_refused_in_streamed_bodies() {
    let cluster = cluster_with_rewrite(RequestMode::Streamed).await.unwrap();
    let late = format!(r#"{{"prompt":"{}","model":"public"}}"#, "x".repeat(300_000));
    for (body, upload) in [
        (r#"{"model":"public","prompt":"hello"}"#, Upload::Whole),
        (&late, Upload::Whole),
        (&late, Upload::Chunked),
    ] {
        wait_refused(&cluster, &[], (body, upload)).await.unwrap();
    }
    cluster.complete(&CompletionRequest::small(1)).await.unwrap();
    wait_idle(&cluster).await.unwrap();
}

#[tokio::test]
async fn model_that_exists_only_as_a_rewrite_is_refused_by_its_header_if_bodies_are_hidden() {
    let cluster = cluster_with_rewrite(RequestMode::NotSent).await.unwrap();
    let body = (r#"{"model":"public","prompt":"hello"}"#, Upload::Whole);
    wait_refused(&cluster, &[("x-gateway-model-name", "public")], body).await.unwrap();
    let response = cluster.send(Method::POST, COMPLETIONS, Bytes::from(body.0), body.1).await.unwrap();
    assert_eq!(StatusCode::NOT_FOUND, response.status, "nothing tells the replica the model");
    cluster.complete(&CompletionRequest::small(1)).await.unwrap();
    wait_idle(&cluster).await.unwrap();
}

#[tokio::test]
async fn control_headers_are_removed_and_the_request_id_is_kept() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 1, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    let headers = [
        ("x-prefiller-host-port", "6.6.6.6:80"),
        ("x-gateway-destination-endpoint", "6.6.6.6:80"),
        ("x-llm-d-slo-ttft-ms", "1e300"),
        ("x-harmless", "1"),
    ];
    let body = CompletionRequest::small(1).body();
    let response =
        cluster.send_with(COMPLETIONS, &headers, (body, Upload::Whole)).await.unwrap().ok().unwrap();
    cluster.check_served_as_picked(&response).unwrap();
    let received = response.header("x-signalbox-request-headers").unwrap();
    assert!(!received.contains("x-prefiller") && !received.contains("x-llm-d"), "{received}");
    assert!(received.contains("x-harmless") && received.contains("x-request-id"), "{received}");
    cluster.wait_for_metric("ignored_request_headers_total", |ignored| ignored == 1.0).await.unwrap();
}

#[tokio::test]
async fn disconnected_clients_leave_no_bookings() {
    let cluster =
        TestCluster::start(TestClusterConfig { pods: 2, pod: SLOW, epps: 1, ..TestClusterConfig::default() })
            .await
            .unwrap();
    let url = format!("{}{COMPLETIONS}", cluster.envoy().url());
    let streams = |count: f64| cluster.wait_for_metric("open_streams", move |streams| streams == count);
    let request = CompletionRequest {
        topic: 1,
        bytes: 60_000,
        max_tokens: Some(1_000),
        format: ResponseFormat::Events,
    };
    {
        let mut stalled =
            pin!(cluster.client.send_streaming(Method::POST, &url, request.body(), Upload::Stalling));
        let has_stream = streams(1.0);
        let mut has_stream = pin!(has_stream);
        // Polls the request while it waits for the metric.
        let is_open = poll_fn(|context| {
            assert!(stalled.as_mut().poll(context).is_pending(), "an incomplete request got a response");
            has_stream.as_mut().poll(context)
        });
        is_open.await.unwrap();
    }
    wait_idle(&cluster).await.unwrap();
    let response =
        cluster.client.send_streaming(Method::POST, &url, request.body(), Upload::Whole).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    cluster.wait_for_metric("own_in_flight_requests", |booked| booked == 1.0).await.unwrap();
    drop(body);
    wait_idle(&cluster).await.unwrap();
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_use() {
    let cluster = TestCluster::start(TestClusterConfig { pods: 2, epps: 1, ..TestClusterConfig::default() })
        .await
        .unwrap();
    let body = br#"{"model":"asked for","prompt":"x","stream":true,"stream_options":{"include_usage":true}}"#;
    let headers = [("x-llm-d-model-name-rewrite", "m")];
    let sent = (Bytes::from_static(body), Upload::Whole);
    cluster.send_with(COMPLETIONS, &headers, sent).await.unwrap().ok().unwrap();
    wait_idle(&cluster).await.unwrap();
    let has_metrics = async || {
        let page = cluster.epps[0].metrics_page(&cluster.client).await?;
        for (name, value) in [
            ("llm_d_epp_request_total", 1.0),
            ("inference_objective_request_total", 1.0),
            ("llm_d_epp_request_ttft_seconds_count", 1.0),
            ("llm_d_epp_request_input_tokens_count", 1.0),
            ("llm_d_epp_ready_endpoints", 2.0),
            ("inference_pool_ready_pods", 2.0),
            ("llm_d_epp_average_queue_size", 0.0),
        ] {
            ensure!(page.sum(name) == Some(value), "{name} is {:?}", page.sum(name));
        }
        let by_model = page.by_label("llm_d_epp_request_total", "target_model_name");
        ensure!(by_model == [("m".to_owned(), 1.0)].into(), "{by_model:?}");
        let by_pool = page.by_label("llm_d_epp_ready_endpoints", "name");
        ensure!(by_pool == [("llama3".to_owned(), 2.0)].into(), "{by_pool:?}");
        let by_endpoint = page.by_label("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint");
        ensure!(by_endpoint.len() == 2, "{by_endpoint:?}");
        Ok(())
    };
    eventually("the page has the metrics", has_metrics).await.unwrap();
}
