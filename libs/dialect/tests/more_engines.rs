//! Pages of llama.cpp, of Ray with vLLM, and of engines that a user describes.
#![allow(clippy::unwrap_used)] // this file contains only tests

use std::sync::Arc;

use signalbox_dialect::metrics::{PageError, parse};
use signalbox_types::{Capacity, CustomEngine, Engine, Gauges, Sample, Work};

fn sample(engine: &Engine, page: &str) -> Sample {
    parse(engine, page.as_bytes()).unwrap()
}

fn error(engine: &Engine, page: &str) -> String {
    parse(engine, page.as_bytes()).unwrap_err().to_string()
}

#[test]
fn llamacpp_page_is_parsed() {
    let page = include_str!("pages/llamacpp.txt");
    let parsed = sample(&Engine::LlamaCpp, page);
    assert_eq!(Gauges { waiting: 2, running: Some(4), kv_used_ppm: None }, parsed.gauges);
    assert_eq!(Work { requests: 0, prompt_tokens: 9_120, output_tokens: 17_029 }, parsed.work);
    let older = format!("{page}llamacpp:kv_cache_usage_ratio 0.25\n");
    assert_eq!(Some(250_000), sample(&Engine::LlamaCpp, &older).gauges.kv_used_ppm);
}

#[test]
fn vllm_is_parsed_from_the_page_of_rays_agent() {
    let page = include_str!("pages/ray-vllm.txt");
    for page in [page.to_owned(), page.replace("ray_vllm_", "ray_vllm:")] {
        let parsed = sample(&Engine::RayVllm, &page);
        assert_eq!(Gauges { waiting: 3, running: Some(9), kv_used_ppm: Some(375_000) }, parsed.gauges);
        assert_eq!(Some(Capacity { kv_tokens: 27_846 * 16 }), parsed.capacity);
        // Each counter is there twice.
        assert_eq!(Work { requests: 12, prompt_tokens: 82_144, output_tokens: 1_234 }, parsed.work);
        assert_eq!(0, parsed.incarnation.0, "the start is that of the agent");
    }
}

fn custom(change: impl FnOnce(&mut CustomEngine)) -> Engine {
    let spec = |text: &str| Some(text.parse().unwrap());
    let mut engine = CustomEngine {
        name: "xllm".to_owned(),
        waiting: spec("x_requests{state=waiting}"),
        running: spec("x_requests{state=running,stage=\"decode\"}"),
        kv_use: spec("x_kv_use"),
        adapters: spec("x_lora"),
        cache_info: spec("x_cache"),
        block_label: "size".to_owned(),
        blocks_label: "count".to_owned(),
        ..CustomEngine::default()
    };
    change(&mut engine);
    Engine::Custom(Arc::new(engine))
}

const PAGE: &str = "x_requests{state=\"waiting\",stage=\"any\"} 2
x_requests{stage=\"decode\",state=\"running\",rank=\"0\"} 3
x_requests{stage=\"decode\",state=\"running\",rank=\"1\"} 4
x_requests{stage=\"prefill\",state=\"running\"} 100
x_requests_total 9
x_kv_use{rank=\"0\"} 0.25
x_kv_use{rank=\"1\"} 0.75
x_cache{size=\"32\",count=\"100\"} 1
x_lora{max_lora=\"4\",running_lora_adapters=\"a, b\",waiting_lora_adapters=\"c\"} 1.7e9
";

#[test]
fn families_and_labels_of_a_described_engine_have_their_meaning() {
    let parsed = sample(&custom(|_| ()), PAGE);
    assert_eq!(Gauges { waiting: 2, running: Some(7), kv_used_ppm: Some(500_000) }, parsed.gauges);
    assert_eq!(Some(Capacity { kv_tokens: 3_200 }), parsed.capacity);
    let adapters = parsed.adapters.unwrap();
    assert_eq!((4, 2, 1), (adapters.slots, adapters.running.len(), adapters.waiting.len()));
}

#[test]
fn capacity_of_a_described_engine_can_be_in_gauges() {
    let engine = custom(|engine| {
        engine.cache_info = None;
        engine.block_tokens = Some("x_block{kind=tokens}".parse().unwrap());
        engine.blocks = Some("x_block{kind=count}".parse().unwrap());
    });
    let page = format!("{PAGE}x_block{{kind=\"tokens\"}} 64\nx_block{{kind=\"count\"}} 10\n");
    assert_eq!(Some(Capacity { kv_tokens: 640 }), sample(&engine, &page).capacity);
}

#[test]
fn what_a_described_engine_does_not_name_is_unknown() {
    let engine = custom(|engine| (engine.running, engine.kv_use) = (None, None));
    let expected = Gauges { waiting: 2, running: None, kv_used_ppm: None };
    assert_eq!(expected, sample(&engine, PAGE).gauges);
    let engine = custom(|engine| engine.waiting = None);
    let gauges = sample(&engine, PAGE).gauges;
    assert_eq!((0, Some(7)), (gauges.waiting, gauges.running));
}

#[test]
fn missing_family_of_a_described_engine_is_named() {
    let page = PAGE.replace("state=\"waiting\"", "state=\"queued\"");
    let expected = "the metrics page has no value for x_requests, which engine \"xllm\" requires";
    assert_eq!(expected, error(&custom(|_| ()), &page));
    assert!(matches!(parse(&custom(|_| ()), b"x_requests{ 1"), Err(PageError::Malformed { .. })));
}

#[test]
fn page_of_another_engine_is_recognized() {
    let pages = [
        (Engine::Vllm, include_str!("pages/vllm.txt")),
        (Engine::Sglang, include_str!("pages/sglang.txt")),
        (Engine::TrtLlm, include_str!("pages/tensorrt-llm.txt")),
        (Engine::TritonTrtLlm, include_str!("pages/triton-tensorrt-llm.txt")),
        (Engine::Triton, include_str!("pages/triton.txt")),
        (Engine::Tgi, include_str!("pages/tgi.txt")),
        (Engine::LlamaCpp, include_str!("pages/llamacpp.txt")),
        (Engine::RayVllm, include_str!("pages/ray-vllm.txt")),
    ];
    for (other, page) in &pages {
        for (engine, _) in pages.iter().filter(|(engine, _)| engine != other) {
            let Err(error) = parse(engine, page.as_bytes()) else {
                // Every page of Triton with TensorRT-LLM is one of Triton, too.
                assert_eq!((&Engine::Triton, &Engine::TritonTrtLlm), (engine, other));
                continue;
            };
            let advice = format!("set the engine to {other}");
            assert!(error.to_string().ends_with(&advice), "{engine}: {error}");
        }
    }
}

#[test]
fn page_that_is_none_names_the_likely_mistake() {
    let json = "[{\"iter\": 1, \"numActiveRequests\": 0}]";
    assert!(error(&Engine::TrtLlm, json).contains("/prometheus/metrics"));
    assert!(error(&Engine::Vllm, " <html></html>").contains("metricsUrl"));
    assert!(error(&Engine::Vllm, "").contains("turned off"));
    assert_eq!("not a metrics page", error(&Engine::Vllm, "not found"));
    let own = error(&Engine::Vllm, "vllm:num_requests_waiting 1\nvllm:num_requests_running NaN\n");
    assert!(own.ends_with("which engine \"vllm\" requires"), "{own}");
}
