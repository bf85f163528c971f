//! The metric families that Signalbox reads, per engine.

mod sglang;
mod tensorrt_llm;
mod tgi;
mod triton;
mod vllm;

use signalbox_types::Engine;

use super::family::{Family, Role};

/// Returns the roles without which a page gives no sample.
pub(super) fn required_roles(engine: Engine) -> &'static [Role] {
    match engine {
        // Triton reports running requests only as a counter that never falls.
        Engine::Triton => &[Role::Waiting],
        _ => &[Role::Waiting, Role::Running],
    }
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
