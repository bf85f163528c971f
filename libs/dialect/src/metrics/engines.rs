//! The metric families that Signalbox reads, per engine.

mod custom;
mod llamacpp;
mod sglang;
mod tensorrt_llm;
mod tgi;
mod triton;
mod vllm;

use std::borrow::Cow;

use signalbox_types::Engine;

use super::family::{Family, Role};

/// How pages of an engine are read.
#[derive(Clone, Debug)]
pub(super) struct Table<'e> {
    /// The families that are read.
    pub(super) families: Cow<'e, [Family<'e>]>,
    /// How the engine's own metric names begin, by which its page is told from that of another program. Without any,
    /// no page is.
    pub(super) prefixes: &'static [&'static str],
    /// Roles without which a page gives no sample.
    pub(super) required: &'static [Role<'static>],
    /// Whether the load gauges appear only with the first request. A page of such an engine without any load
    /// gauge means an idle server.
    pub(super) is_lazy: bool,
}

impl<'e> Table<'e> {
    /// Returns the table for pages of `engine`.
    pub(super) fn of(engine: &'e Engine) -> Self {
        use Role::{Running, Waiting};
        let table = |families, prefixes, required, is_lazy| Table {
            families: Cow::Borrowed(families),
            prefixes,
            required,
            is_lazy,
        };
        match engine {
            Engine::Vllm => table(vllm::FAMILIES, &["vllm:"], &[Waiting, Running], false),
            Engine::RayVllm => table(vllm::RAY_FAMILIES, vllm::RAY_PREFIXES, &[Waiting, Running], false),
            Engine::Sglang => table(sglang::FAMILIES, &["sglang:"], &[Waiting, Running], true),
            Engine::TrtLlm => table(tensorrt_llm::FAMILIES, &["trtllm_"], &[Waiting, Running], true),
            Engine::TritonTrtLlm => {
                table(triton::TENSORRT_LLM_FAMILIES, &["nv_trt_llm_"], &[Waiting, Running], true)
            }
            // Running requests appear only in a counter that never falls.
            Engine::Triton => table(triton::FAMILIES, &["nv_"], &[Waiting], false),
            // The queue's gauge appears with the first request, the batch's only after its prefill.
            Engine::Tgi => table(tgi::FAMILIES, &["tgi_"], &[], true),
            Engine::LlamaCpp => table(llamacpp::FAMILIES, &["llamacpp:"], &[Waiting, Running], false),
            Engine::Custom(custom) => custom::table(custom),
        }
    }

    /// Returns whether pages have a gauge for `role`.
    pub(super) fn reports(&self, role: Role<'_>) -> bool {
        self.families.iter().any(|family| family.role == role)
    }
}
