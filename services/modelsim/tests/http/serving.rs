//! The OpenAI endpoints and the metrics page.

use std::time::Duration;

use crate::client::{events, get, json, pod, pod_of, post, sample, send, text};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use signalbox_modelsim::{ModelConfig, ModelServer, PodConfig, profiles};
use tokio::net::TcpListener;

const LONG_PROMPT_BYTES: usize = 6_400;

#[tokio::test]
async fn completion_reports_usage_and_the_second_one_hits_the_cache() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "prompt": "x".repeat(LONG_PROMPT_BYTES), "max_tokens": 5});
    let first = json(post(pod.address(), "/v1/completions", &body).await).await;
    assert_eq!(first["object"], "text_completion");
    assert_eq!(first["choices"][0]["text"].as_str().unwrap().len(), 20);
    assert_eq!(first["choices"][0]["finish_reason"], "length");
    assert_eq!(
        first["usage"],
        json!({"prompt_tokens": 1600, "completion_tokens": 5, "total_tokens": 1605,
               "prompt_tokens_details": null}),
        "as in vLLM, nothing cached is not told"
    );
    let second = json(post(pod.address(), "/v1/completions", &body).await).await;
    assert_eq!(second["usage"]["prompt_tokens_details"]["cached_tokens"], 1584);
    assert_eq!(second["choices"][0]["text"], first["choices"][0]["text"]);
}

#[tokio::test]
async fn next_turn_of_a_chat_hits_prompt_and_answer() {
    let profile = profiles::find("h100-8b").unwrap();
    let (model, tokenizer) = (profile.model.clone(), profile.tokenizer);
    let pod = pod_of(PodConfig { model, tokenizer, ..PodConfig::default() }).await;
    let mut messages = vec![json!({"role": "user", "content": "Tell me about the sea. ".repeat(100)})];
    let chat = |messages: &[Value]| json!({"model": "llama3-8b", "max_tokens": 200, "messages": messages});
    let first = json(post(pod.address(), "/v1/chat/completions", &chat(&messages)).await).await;
    assert_eq!(first["usage"]["prompt_tokens_details"], Value::Null);
    messages.push(first["choices"][0]["message"].clone());
    messages.push(json!({"role": "user", "content": "And the sky?"}));
    let second = json(post(pod.address(), "/v1/chat/completions", &chat(&messages)).await).await;
    // All full blocks of the first prompt and its answer, whose last token was never computed.
    let computed = first["usage"]["total_tokens"].as_u64().unwrap() - 1;
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    assert_eq!(cached, Some(computed / 16 * 16));
}

#[tokio::test]
async fn usage_tells_cached_tokens_only_when_switched_on() {
    let config = PodConfig { name: "plain".to_owned(), speed: 100.0, ..PodConfig::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pod = ModelServer::start(config, listener).unwrap();
    let body = json!({"model": "llama3-8b", "prompt": "x".repeat(LONG_PROMPT_BYTES), "max_tokens": 1});
    for _ in 0..2 {
        let response = json(post(pod.address(), "/v1/completions", &body).await).await;
        assert_eq!(response["usage"]["prompt_tokens_details"], Value::Null);
    }
    assert_eq!(pod.stats().prefix_hits_tokens, 1_584);
}

#[tokio::test]
async fn streamed_chat_has_the_same_text_and_ends_with_usage() {
    let pod = pod(ModelConfig::default()).await;
    let mut body =
        json!({"model": "llama3-8b", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let whole = json(post(pod.address(), "/v1/chat/completions", &body).await).await;
    let message = &whole["choices"][0]["message"];
    assert_eq!((&message["role"], &whole["object"]), (&json!("assistant"), &json!("chat.completion")));

    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let response = post(pod.address(), "/v1/chat/completions", &body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let events = events(&text(response).await);
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let streamed: String =
        chunks.iter().map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(streamed, message["content"].as_str().unwrap());
    assert!(chunks.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "length");
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(9)));
}

#[tokio::test]
async fn nothing_is_streamed_before_the_first_token() {
    let pod = pod(ModelConfig::default()).await;
    let messages = json!([{"role": "user", "content": "tell me"}]);
    let body = json!({"model": "llama3-8b", "messages": messages, "max_tokens": 3, "stream": true});
    let mut streamed = post(pod.address(), "/v1/chat/completions", &body).await;
    let first = streamed.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert_eq!(2, first.matches("data: ").count(), "the role comes with the first text: {first}");
}

#[tokio::test]
async fn stream_has_no_usage_unless_requested() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "prompt": ["one", "two"], "stream": true});
    let events = events(&text(post(pod.address(), "/v1/completions", &body).await).await);
    assert!(events.iter().all(|event| event.get("usage").is_none()));
    let finished = |index| {
        events
            .iter()
            .filter(|event| {
                event["choices"][0]["index"] == index && event["choices"][0]["finish_reason"] == "stop"
            })
            .count()
    };
    assert_eq!((finished(0), finished(1)), (1, 1));
}

#[tokio::test]
async fn responses_name_the_pod_and_describe_the_request_body() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "prompt": "y".repeat(4 << 20), "max_tokens": 1}).to_string();
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(body.as_bytes()));
    let response = send(pod.address(), Method::POST, "/v1/completions", body.clone()).await;
    assert_eq!(response.status(), 400, "4 MiB are a million tokens, twice the cache capacity");
    assert_eq!(response.headers()["x-signalbox-pod"], "pod-a");
    assert_eq!(response.headers()["x-signalbox-body-xxh3"], hash.as_str());
    assert_eq!(response.headers()["x-signalbox-body-bytes"], body.len().to_string().as_str());
    assert!(json(response).await["error"]["message"].as_str().unwrap().contains("maximum context length"));
}

#[tokio::test]
async fn invalid_requests_are_explained() {
    let pod = pod(ModelConfig::default()).await;
    for (path, body, status, message) in [
        ("/v1/completions", "{", 400, "the request body is invalid"),
        ("/v1/completions", r#"{"model":"llama3-8b"}"#, 400, "prompt is missing"),
        ("/v1/completions", r#"{"model":"llama3-8b","prompt":""}"#, 400, "the prompt cannot be empty"),
        (
            "/v1/completions",
            r#"{"model":"llama3-8b","prompt":"x","max_tokens":0}"#,
            400,
            "max_tokens must be",
        ),
        ("/v1/completions", r#"{"model":"llama3-8b","prompt":7}"#, 400, "prompt must be a string"),
        ("/v1/chat/completions", r#"{"model":"llama3-8b"}"#, 400, "messages are missing"),
        ("/v1/completions", r#"{"model":"gpt","prompt":"x"}"#, 404, "The model `gpt` does not exist."),
        ("/v2", "", 404, "no such path: /v2"),
        ("/health", "", 405, "POST is not allowed at /health"),
    ] {
        let response = send(pod.address(), Method::POST, path, body).await;
        assert_eq!(response.status(), status, "{path} {body}");
        assert_eq!(response.headers()["x-signalbox-pod"], "pod-a");
        let error = &json(response).await["error"];
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert_eq!(error["code"], status);
    }
    assert_eq!(get(pod.address(), "/health").await.status(), 200);
    assert_eq!(json(get(pod.address(), "/v1/models").await).await["data"][0]["id"], "llama3-8b");
}

#[tokio::test]
async fn metrics_page_counts_served_requests() {
    let pod = pod(ModelConfig::default()).await;
    let body = json!({"model": "llama3-8b", "prompt": "x".repeat(LONG_PROMPT_BYTES), "max_tokens": 5});
    for _ in 0..2 {
        text(post(pod.address(), "/v1/completions", &body).await).await;
    }
    pod.wait_for_stats(|stats| stats.finished == 2).await;
    let page = text(get(pod.address(), "/metrics").await).await;
    let finished = |reason: &str| {
        format!(
            "vllm:request_success_total{{engine=\"0\",model_name=\"llama3-8b\",finished_reason=\"{reason}\"}}"
        )
    };
    for (name, value) in [
        ("vllm:num_requests_running{", 0.0),
        ("vllm:num_requests_waiting{", 0.0),
        ("vllm:kv_cache_usage_perc{", 0.0),
        ("vllm:prefix_cache_queries_total{", 3_200.0),
        ("vllm:prefix_cache_hits_total{", 1_584.0),
        ("vllm:prompt_tokens_total{", 3_200.0),
        ("vllm:generation_tokens_total{", 10.0),
        (&finished("length"), 2.0),
        (&finished("stop"), 0.0),
        (&finished("abort"), 0.0),
        ("vllm:e2e_request_latency_seconds_count{", 2.0),
        ("vllm:request_prompt_tokens_sum{", 3_200.0),
        ("vllm:request_generation_tokens_bucket{engine=\"0\",model_name=\"llama3-8b\",le=\"5.0\"}", 2.0),
        ("vllm:time_to_first_token_seconds_count{", 2.0),
        ("vllm:inter_token_latency_seconds_count{", 8.0),
        ("vllm:inter_token_latency_seconds_bucket{engine=\"0\",model_name=\"llama3-8b\",le=\"+Inf\"}", 8.0),
    ] {
        assert_eq!(sample(&page, name), value, "{name}");
    }
    // Eight passes of one decoding request, 6,350 µs each, at 100 times real time.
    let inter_token_seconds = sample(&page, "vllm:inter_token_latency_seconds_sum{");
    assert!((inter_token_seconds - 8.0 * 63.5e-6).abs() < 1e-9, "{inter_token_seconds}");
    assert!(page.contains(r#"vllm:cache_config_info{block_size="16",enable_prefix_caching="True",engine="0",num_gpu_blocks="32768"} 1.0"#));
    assert!(sample(&page, "process_start_time_seconds") > 1e9);
}

/// A configuration whose cache permits requests that run for minutes even at 100 times real time.
fn long_requests() -> ModelConfig {
    ModelConfig { kv_capacity_tokens: 1 << 20, max_running: 2, ..ModelConfig::default() }
}

#[tokio::test]
async fn client_disconnect_frees_blocks() {
    let pod = pod(long_requests()).await;
    let body = json!({"model": "llama3-8b", "prompt": "x".repeat(LONG_PROMPT_BYTES), "max_tokens": 1_000_000, "stream": true});
    let mut streamed = post(pod.address(), "/v1/completions", &body).await;
    streamed.body_mut().frame().await.unwrap().unwrap();
    let mut unstreamed = body.clone();
    unstreamed["stream"] = false.into();
    let address = pod.address();
    let whole = tokio::spawn(async move { post(address, "/v1/completions", &unstreamed).await });
    pod.wait_for_stats(|stats| stats.running == 2).await;
    assert!(pod.stats().used_blocks >= 100);
    drop(streamed);
    pod.wait_for_stats(|stats| stats.running == 1).await;
    whole.abort();
    let idle = pod.wait_for_stats(|stats| stats.running == 0).await;
    assert_eq!((idle.used_blocks, idle.waiting, idle.finished), (0, 0, 0));
}

#[tokio::test]
async fn full_pod_queues_the_next_request() {
    // A token of the only running request takes a tenth of a second, so that all take minutes: however slow this test
    // is, the request is still running when the engine is paused.
    let pass_per_decoding_us = 10_000_000;
    let model = ModelConfig { kv_capacity_tokens: 100_000, pass_per_decoding_us, ..ModelConfig::default() };
    let pod = pod(model).await;
    let body =
        json!({"model": "llama3-8b", "prompt": "x".repeat(4 * 98_500), "max_tokens": 1_500, "stream": true});
    let mut running = post(pod.address(), "/v1/completions", &body).await;
    running.body_mut().frame().await.unwrap().unwrap();
    let other =
        json!({"model": "llama3-8b", "prompt": "y".repeat(4 * 50_000), "max_tokens": 1_500, "stream": true});
    let _waiting = post(pod.address(), "/v1/completions", &other).await;
    // The engine has a pass to begin with both.
    let produced = pod.stats().generation_tokens;
    pod.wait_for_stats(|stats| stats.generation_tokens >= produced + 2).await;
    post(pod.address(), "/admin/faults", &json!({"engine": "wedged"})).await;
    let full = pod.wait_for_stats(|stats| stats.waiting == 1).await;
    assert!(full.kv_usage() > 0.98, "{full:?}");
    let page = text(get(pod.address(), "/metrics").await).await;
    assert_eq!(sample(&page, "vllm:num_requests_running{"), 1.0);
    assert_eq!(sample(&page, "vllm:num_requests_waiting{"), 1.0);
}

#[tokio::test]
async fn many_clients_are_all_served() {
    let pod = pod(ModelConfig::default()).await;
    let address = pod.address();
    let clients: Vec<_> = (0..300)
        .map(|client| {
            tokio::spawn(async move {
                let body = json!({"model": "llama3-8b", "prompt": format!("{client} {}", "z".repeat(400)), "max_tokens": 20, "stream": true});
                let events = events(&text(post(address, "/v1/completions", &body).await).await);
                events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap().len()).sum::<usize>()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), 80);
    }
}

#[tokio::test]
async fn stop_aborts_requests_after_the_grace_period() {
    let pod = pod(long_requests()).await;
    let body = json!({"model": "llama3-8b", "prompt": "x", "max_tokens": 1_000_000, "stream": true});
    let mut endless = post(pod.address(), "/v1/completions", &body).await;
    endless.body_mut().frame().await.unwrap().unwrap();
    pod.stop(Duration::ZERO).await;
    let rest = endless.into_body().collect().await;
    assert!(rest.is_err(), "an aborted stream must not look complete");
}
