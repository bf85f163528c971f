//! vLLM's metric families. A data-parallel server has one series per rank, distinguished by the label
//! `engine`. Several API servers in front of one engine share a page, which then has no
//! `process_start_time_seconds`.

use crate::metrics::family::{Family, Role};

const SLEEP: &str = "vllm:engine_sleep_state";

pub(super) const FAMILIES: &[Family] = &[
    Family::new("vllm:num_requests_waiting", Role::Waiting),
    Family::new("vllm:num_requests_running", Role::Running),
    Family::new("vllm:kv_cache_usage_perc", Role::KvUse),
    Family::new("vllm:gpu_cache_usage_perc", Role::KvUseLegacy),
    // Each rank repeats the number of blocks of all ranks together.
    Family::new(
        "vllm:cache_config_info",
        Role::CacheLabels { block: "block_size", blocks: "num_gpu_blocks" },
    ),
    Family::new("vllm:lora_requests_info", Role::Adapters),
    Family::new("vllm:lora_adapter_loaded", Role::LoadedAdapter),
    Family::new("vllm:num_gpu_loaded_lora_adapters", Role::LoadedAdapters),
    Family::new("vllm:max_gpu_lora_adapters", Role::AdapterSlots),
    Family::with_label(SLEEP, ("sleep_state", "awake"), Role::Awake),
    Family::with_label(SLEEP, ("sleep_state", "weights_offloaded"), Role::Asleep),
    Family::with_label(SLEEP, ("sleep_state", "discard_all"), Role::Asleep),
    Family::new("vllm:inter_token_latency_seconds_sum", Role::InterTokenSum),
    Family::new("vllm:inter_token_latency_seconds_count", Role::InterTokenCount),
    Family::new("vllm:time_per_output_token_seconds_sum", Role::InterTokenSumLegacy),
    Family::new("vllm:time_per_output_token_seconds_count", Role::InterTokenCountLegacy),
    Family::new("vllm:generation_tokens_total", Role::GenerationTokens),
    Family::new("vllm:prompt_tokens_total", Role::PromptTokens),
    Family::new("vllm:request_success_total", Role::Requests),
    Family::new("process_start_time_seconds", Role::Started),
];
