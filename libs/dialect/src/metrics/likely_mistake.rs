//! What is probably wrong with a page that cannot be used.

use signalbox_types::Engine;

use super::text_format::has_metric_of;

/// How names begin on pages, the name of the engine that has such pages, and what to do. The first that a page has counts.
const PAGES: [(&str, &str, &str); 9] = [
    ("vllm:", "vllm", "the page is one of vLLM; set the engine to vllm"),
    ("ray_vllm", "ray-vllm", "the page is one of Ray with vLLM; set the engine to ray-vllm"),
    ("sglang:", "sglang", "the page is one of SGLang; set the engine to sglang"),
    ("trtllm_", "trtllm-serve", "the page is one of trtllm-serve; set the engine to trtllm-serve"),
    (
        "nv_trt_llm_",
        "triton-tensorrt-llm",
        "the page is one of Triton with TensorRT-LLM; set the engine to triton-tensorrt-llm",
    ),
    ("nv_inference_", "triton", "the page is one of Triton; set the engine to triton"),
    ("tgi_", "tgi", "the page is one of Text Generation Inference; set the engine to tgi"),
    ("llamacpp:", "llamacpp", "the page is one of llama.cpp; set the engine to llamacpp"),
    ("ray_", "", "the page is one of Ray without an engine; name that of the node on which the engine runs"),
];

/// Returns what is probably wrong with `page`, which gives no sample of `engine`, and how to fix it.
pub(super) fn likely_mistake(engine: &Engine, page: &[u8]) -> Option<&'static str> {
    if let Some((_, name, mistake)) = PAGES.iter().find(|(prefix, _, _)| has_metric_of(page, prefix)) {
        return (*name != engine.name()).then_some(mistake);
    }
    match page.trim_ascii_start().first() {
        Some(b'{' | b'[') => {
            Some("it is JSON; trtllm-serve has JSON at /metrics and its metrics page at /prometheus/metrics")
        }
        Some(b'<') => Some("it is HTML; name the metrics page by metricsUrl"),
        Some(_) => None,
        None => Some("it is blank; the server may have its metrics turned off"),
    }
}
