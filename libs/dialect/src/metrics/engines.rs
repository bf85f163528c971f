//! The metric families that Signalbox reads, per engine.

mod sglang;
mod tensorrt_llm;
mod tgi;
mod triton;
mod vllm;

use signalbox_types::Engine;

use super::family::{Family, Role};

/// How the metrics pages of an engine begin, and what they must contain.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRules {
    /// Prefix of the engine's own metric names, by which its page is told from that of another program.
    pub(super) prefix: &'static str,
    /// Roles without which a page gives no sample.
    pub(super) required: &'static [Role],
    /// Whether the load gauges appear only with the first request. A page of such an engine without any load
    /// gauge means an idle server.
    pub(super) is_lazy: bool,
}

/// Returns the rules for pages of `engine`.
pub(super) fn page_rules(engine: Engine) -> PageRules {
    use Role::{Running, Waiting};
    let rules = |prefix, required, is_lazy| PageRules { prefix, required, is_lazy };
    match engine {
        Engine::Vllm => rules("vllm:", &[Waiting, Running], false),
        Engine::Sglang => rules("sglang:", &[Waiting, Running], true),
        Engine::TrtLlm => rules("trtllm_", &[Waiting, Running], true),
        Engine::TritonTrtLlm => rules("nv_trt_llm_", &[Waiting, Running], true),
        // Running requests appear only in a counter that never falls.
        Engine::Triton => rules("nv_", &[Waiting], false),
        // The queue's gauge appears with the first request, the batch's only after its prefill.
        Engine::Tgi => rules("tgi_", &[], true),
    }
}

/// Returns whether pages of `engine` have a gauge for `role`.
pub(super) fn reports(engine: Engine, role: Role) -> bool {
    families(engine).iter().any(|family| family.role == role)
}

/// Returns the families that are read from a page of `engine`.
pub(super) fn families(engine: Engine) -> &'static [Family] {
    match engine {
        Engine::Vllm => vllm::FAMILIES,
        Engine::Sglang => sglang::FAMILIES,
        Engine::TrtLlm => tensorrt_llm::FAMILIES,
        Engine::TritonTrtLlm => triton::TENSORRT_LLM_FAMILIES,
        Engine::Triton => triton::FAMILIES,
        Engine::Tgi => tgi::FAMILIES,
    }
}
