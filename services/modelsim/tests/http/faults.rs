//! Injected faults and restarts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::{get, json, pod, post, sample, send, text};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::json;
use signalbox_modelsim::{ModelConfig, ModelServer};

async fn set_faults(pod: &ModelServer, faults: serde_json::Value) {
    assert_eq!(post(pod.address(), "/admin/faults", &faults).await.status(), 200);
}

#[tokio::test]
async fn faults_are_set_shown_and_cleared() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"latency_ms": 3, "metrics": "garbage"})).await;
    let current = json(get(pod.address(), "/admin/faults").await).await;
    assert_eq!(
        current,
        json!({
            "latency_ms": 3, "error_rate": 0.0, "metrics": "garbage", "engine": "normal", "kv_usage": null, "waiting": null,
            "unhealthy": false
        })
    );
    send(pod.address(), Method::DELETE, "/admin/faults", "").await;
    assert_eq!(json(get(pod.address(), "/admin/faults").await).await["metrics"], "normal");
}

#[tokio::test]
async fn invalid_faults_are_rejected_with_the_name_of_the_field() {
    let pod = pod(ModelConfig::default()).await;
    for (faults, message) in [
        (json!({"latency": 3}), "unknown field `latency`"),
        (json!({"metrics": "odd"}), "unknown variant `odd`"),
        (json!({"error_rate": 2}), "error_rate must be between 0 and 1"),
    ] {
        let response = post(pod.address(), "/admin/faults", &faults).await;
        assert_eq!(response.status(), 400);
        assert!(json(response).await["error"]["message"].as_str().unwrap().contains(message), "{message}");
    }
}

#[tokio::test]
async fn injected_errors_affect_only_inference() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"error_rate": 1, "latency_ms": 1})).await;
    let body = json!({"model": "llama3-8b", "prompt": "x", "max_tokens": 1});
    let failed = post(pod.address(), "/v1/completions", &body).await;
    assert_eq!(failed.status(), 500);
    assert_eq!(json(failed).await["error"]["type"], "InternalServerError");
    assert_eq!(get(pod.address(), "/metrics").await.status(), 200);
}

#[tokio::test]
async fn unhealthy_pod_still_serves_requests() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"unhealthy": true})).await;
    assert_eq!(get(pod.address(), "/health").await.status(), 503);
    let body = json!({"model": "llama3-8b", "prompt": "x", "max_tokens": 1});
    assert_eq!(post(pod.address(), "/v1/completions", &body).await.status(), 200);
}

#[tokio::test]
async fn metrics_page_shows_overridden_values() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"kv_usage": 0.99, "waiting": 12})).await;
    let page = text(get(pod.address(), "/metrics").await).await;
    assert_eq!(sample(&page, "vllm:kv_cache_usage_perc{"), 0.99);
    assert_eq!(sample(&page, "vllm:num_requests_waiting{"), 12.0);
}

#[tokio::test]
async fn metrics_page_can_be_garbage_frozen_or_endless() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"metrics": "garbage"})).await;
    assert!(text(get(pod.address(), "/metrics").await).await.starts_with("<!doctype"));

    set_faults(&pod, json!({"metrics": "frozen"})).await;
    let body = json!({"model": "llama3-8b", "prompt": "x", "max_tokens": 3});
    text(post(pod.address(), "/v1/completions", &body).await).await;
    pod.wait_for_stats(|stats| stats.generation_tokens == 3).await;
    let page = text(get(pod.address(), "/metrics").await).await;
    assert_eq!(sample(&page, "vllm:generation_tokens_total{"), 0.0);

    set_faults(&pod, json!({"metrics": "endless"})).await;
    let mut endless = get(pod.address(), "/metrics").await.into_body();
    let mut read_bytes = 0;
    while read_bytes < 8 << 20 {
        read_bytes += endless.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
}

#[tokio::test]
async fn stalled_metrics_page_gets_no_response_until_the_pod_stops() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"metrics": "stalled"})).await;
    let mut scrape = TcpStream::connect(pod.address()).unwrap();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nhost: pod\r\n\r\n").unwrap();
    // All other endpoints keep working.
    let body = json!({"model": "llama3-8b", "prompt": "x", "max_tokens": 3});
    assert_eq!(post(pod.address(), "/v1/completions", &body).await.status(), 200);
    pod.stop(Duration::from_secs(60)).await;
    let mut response = String::new();
    scrape.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
}

#[tokio::test]
async fn wedged_pod_accepts_requests_without_progress_until_the_fault_is_cleared() {
    let pod = pod(ModelConfig::default()).await;
    set_faults(&pod, json!({"engine": "wedged"})).await;
    let body = json!({"model": "llama3-8b", "prompt": "x", "max_tokens": 3});
    let mut response = std::pin::pin!(post(pod.address(), "/v1/completions", &body));
    tokio::select! {
        _ = &mut response => panic!("a wedged pod has responded"),
        stats = pod.wait_for_stats(|stats| stats.running + stats.waiting == 1) => assert_eq!(stats.generation_tokens, 0),
    }
    let page = text(get(pod.address(), "/metrics").await).await;
    assert_eq!(sample(&page, "vllm:generation_tokens_total{"), 0.0);
    send(pod.address(), Method::DELETE, "/admin/faults", "").await;
    assert_eq!(response.await.status(), 200);
}

#[tokio::test]
async fn restart_loses_requests_cache_and_faults_and_resets_the_start_time() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "prompt": "x ".repeat(400), "max_tokens": 1});
    assert_eq!(post(pod.address(), "/v1/completions", &body).await.status(), 200);
    let before = text(get(pod.address(), "/metrics").await).await;
    set_faults(&pod, json!({"engine": "wedged"})).await;
    let mut waiting = TcpStream::connect(pod.address()).unwrap();
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: pod\r\ncontent-length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    waiting.write_all(request.as_bytes()).unwrap();
    pod.wait_for_stats(|stats| stats.running + stats.waiting == 1).await;

    assert_eq!(post(pod.address(), "/admin/restart", &json!({})).await.status(), 200);
    let mut rest = String::new();
    // The kernel may reset or close the connection; in both cases there is no response.
    let _ = waiting.read_to_string(&mut rest);
    assert_eq!(rest, "");
    let after = text(get(pod.address(), "/metrics").await).await;
    let started = |page: &str| sample(page, "process_start_time_seconds ");
    assert!(started(&after) > started(&before));
    let stats = pod.stats();
    assert_eq!((stats.running + stats.waiting, stats.used_blocks, stats.idle_cached_blocks), (0, 0, 0));
    assert_eq!(json(get(pod.address(), "/admin/faults").await).await["engine"], "normal");
    assert_eq!(
        json(post(pod.address(), "/v1/completions", &body).await).await["usage"]["prompt_tokens"],
        200
    );
}
