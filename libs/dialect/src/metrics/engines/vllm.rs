//! vLLM's metric families. A data-parallel server has one series per rank, distinguished by the label
//! `engine`.

use crate::metrics::family::{Family, Role};

pub(super) const FAMILIES: &[Family] = &[
    Family::new("vllm:num_requests_waiting", Role::Waiting),
    Family::new("vllm:num_requests_running", Role::Running),
    Family::new("vllm:kv_cache_usage_perc", Role::KvUse),
    Family::new("vllm:gpu_cache_usage_perc", Role::KvUseLegacy),
    Family::new(
        "vllm:cache_config_info",
        Role::CacheLabels { block: "block_size", blocks: "num_gpu_blocks" },
    ),
    Family::new("vllm:lora_requests_info", Role::Adapters),
    Family::new("vllm:inter_token_latency_seconds_sum", Role::InterTokenSum),
    Family::new("vllm:inter_token_latency_seconds_count", Role::InterTokenCount),
    Family::new("vllm:time_per_output_token_seconds_sum", Role::InterTokenSumLegacy),
    Family::new("vllm:time_per_output_token_seconds_count", Role::InterTokenCountLegacy),
    Family::new("vllm:generation_tokens_total", Role::GenerationTokens),
    Family::new("vllm:prompt_tokens_total", Role::PromptTokens),
    Family::new("process_start_time_seconds", Role::Started),
];
