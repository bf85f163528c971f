//! vLLM's metric families. A data-parallel server has one series per rank, distinguished by the label
//! `engine`. Several API servers in front of one engine share a page, which then has no
//! `process_start_time_seconds`.

use crate::metrics::family::{Family, Role};

/// Lists the families whose names begin with each of these prefixes, and further ones.
macro_rules! families {
    ($($prefix:literal),+; $($other:expr),*) => {
        &[$(
            Family::new(concat!($prefix, "num_requests_waiting"), Role::Waiting),
            Family::new(concat!($prefix, "num_requests_running"), Role::Running),
            Family::new(concat!($prefix, "kv_cache_usage_perc"), Role::KvUse),
            Family::new(concat!($prefix, "gpu_cache_usage_perc"), Role::KvUseLegacy),
            // Each rank repeats the number of blocks of all ranks together.
            Family::new(
                concat!($prefix, "cache_config_info"),
                Role::CacheLabels { block: "block_size", blocks: "num_gpu_blocks" },
            ),
            Family::new(concat!($prefix, "lora_requests_info"), Role::Adapters),
            Family::new(concat!($prefix, "lora_adapter_loaded"), Role::LoadedAdapter),
            Family::new(concat!($prefix, "num_gpu_loaded_lora_adapters"), Role::LoadedAdapters),
            Family::new(concat!($prefix, "max_gpu_lora_adapters"), Role::AdapterSlots),
            Family::with_label(concat!($prefix, "engine_sleep_state"), ("sleep_state", "awake"), Role::Awake),
            Family::with_label(concat!($prefix, "engine_sleep_state"), ("sleep_state", "weights_offloaded"), Role::Asleep),
            Family::with_label(concat!($prefix, "engine_sleep_state"), ("sleep_state", "discard_all"), Role::Asleep),
            Family::new(concat!($prefix, "inter_token_latency_seconds_sum"), Role::InterTokenSum),
            Family::new(concat!($prefix, "inter_token_latency_seconds_count"), Role::InterTokenCount),
            Family::new(concat!($prefix, "time_per_output_token_seconds_sum"), Role::InterTokenSumLegacy),
            Family::new(concat!($prefix, "time_per_output_token_seconds_count"), Role::InterTokenCountLegacy),
            Family::new(concat!($prefix, "generation_tokens_total"), Role::GenerationTokens),
            Family::new(concat!($prefix, "prompt_tokens_total"), Role::PromptTokens),
            Family::new(concat!($prefix, "request_success_total"), Role::Requests),
        )+ $($other),*]
    };
}

pub(super) const FAMILIES: &[Family<'_>] =
    families!("vllm:"; Family::new("process_start_time_seconds", Role::Started));

/// How names begin on the page of Ray's agent, by release. The agent's start is not that of the engine. It exports
/// counters under the old name without `_total`, too.
pub(super) const RAY_PREFIXES: &[&str] = &["ray_vllm_", "ray_vllm:"];

pub(super) const RAY_FAMILIES: &[Family<'_>] = families!("ray_vllm_", "ray_vllm:";);
