//! LoRA adapters as clients and the metrics page show them.

use crate::client::{events, get, json, pod_of, post, text};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use signalbox_dialect::metrics;
use signalbox_modelsim::{ModelConfig, ModelServer, PodConfig, adapter_names};
use signalbox_types::{Adapters, Counters, Engine, Sample};

async fn pod(max_loras: u32) -> ModelServer {
    let model = ModelConfig { max_loras, kv_capacity_tokens: 1 << 21, ..ModelConfig::default() };
    pod_of(PodConfig { loras: adapter_names(3), model, ..PodConfig::default() }).await
}

async fn complete(pod: &ModelServer, model: &str) -> Value {
    let body = json!({"model": model, "prompt": "x".repeat(640), "max_tokens": 3});
    json(post(pod.address(), "/v1/completions", &body).await).await
}

async fn scrape(pod: &ModelServer) -> Sample {
    let page = text(get(pod.address(), "/metrics").await).await;
    metrics::parse(&Engine::Vllm, page.as_bytes()).unwrap()
}

#[tokio::test]
async fn adapters_are_listed_with_their_base_model_and_share_no_blocks() {
    let pod = pod(2).await;
    let listed = json(get(pod.address(), "/v1/models").await).await;
    let cards: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|card| (&card["id"], &card["parent"])).collect();
    let (base, null) = (json!("llama3-8b"), Value::Null);
    let names = ["adapter-0", "adapter-1", "adapter-2"].map(|name| json!(name));
    assert_eq!(cards, [(&base, &null), (&names[0], &base), (&names[1], &base), (&names[2], &base)]);

    for model in ["llama3-8b", "adapter-0", "adapter-1"] {
        let first = complete(&pod, model).await;
        assert_eq!((&first["model"], cached(&first)), (&json!(model), 0), "{first}");
        assert_eq!(cached(&complete(&pod, model).await), 144);
    }
    let unknown = complete(&pod, "adapter-3").await;
    assert_eq!(unknown["error"]["message"], "The model `adapter-3` does not exist.");
    let stats = pod.stats();
    assert_eq!((stats.lora_disk_loads, stats.lora_host_loads), (2, 0));
}

fn cached(response: &Value) -> u64 {
    // Null when nothing was cached.
    response["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn metrics_page_reports_adapters_loads_and_counters() {
    let pod = pod(1).await;
    let idle = Adapters { slots: 1, ..Adapters::default() };
    assert_eq!(scrape(&pod).await.adapters, Some(idle.into()));

    let endless = json!({"model": "adapter-2", "prompt": "x", "max_tokens": 1_000_000, "stream": true});
    let mut running = post(pod.address(), "/v1/completions", &endless).await;
    running.body_mut().frame().await.unwrap().unwrap();
    let address = pod.address();
    let waiting = tokio::spawn(async move {
        let body = json!({"model": "adapter-0", "prompt": "y", "max_tokens": 3, "stream": true});
        events(&text(post(address, "/v1/completions", &body).await).await).len()
    });
    pod.wait_for_stats(|stats| stats.waiting == 1).await;
    let sample = scrape(&pod).await;
    let expected = Adapters {
        slots: 1,
        running: vec!["adapter-2".into()],
        waiting: vec!["adapter-0".into()],
        loaded: None,
    };
    assert_eq!(sample.adapters, Some(expected.into()));
    assert!(matches!(sample.counters, Some(Counters { prompt_tokens: 1, generation_tokens: 1.., .. })));

    drop(running);
    assert!(waiting.await.unwrap() > 0);
    pod.wait_for_stats(|stats| stats.finished == 1).await;
    let page = text(get(pod.address(), "/metrics").await).await;
    assert!(
        page.contains("modelsim_lora_loads_total{engine=\"0\",model_name=\"llama3-8b\",source=\"disk\"} 2")
    );
    let Counters { inter_token_us_sum, inter_token_count, .. } = scrape(&pod).await.counters.unwrap();
    assert!(inter_token_count >= 2 && inter_token_us_sum >= inter_token_count * 63);
}
