//! vLLM's names. A data-parallel server has a series per rank, told apart by the label `engine`.

use super::table::{Family, Role};

pub(super) const FAMILIES: &[Family] = &[
    Family { name: "vllm:num_requests_waiting", role: Role::Waiting },
    Family { name: "vllm:num_requests_running", role: Role::Running },
    Family { name: "vllm:kv_cache_usage_perc", role: Role::KvUse },
    Family { name: "vllm:gpu_cache_usage_perc", role: Role::KvUseOlder },
    Family {
        name: "vllm:cache_config_info",
        role: Role::CacheLabels { block: "block_size", blocks: "num_gpu_blocks" },
    },
    Family { name: "vllm:lora_requests_info", role: Role::Adapters },
    Family { name: "vllm:inter_token_latency_seconds_sum", role: Role::InterTokenSum },
    Family { name: "vllm:inter_token_latency_seconds_count", role: Role::InterTokenCount },
    Family { name: "vllm:time_per_output_token_seconds_sum", role: Role::InterTokenSumOlder },
    Family { name: "vllm:time_per_output_token_seconds_count", role: Role::InterTokenCountOlder },
    Family { name: "vllm:generation_tokens_total", role: Role::GenerationTokens },
    Family { name: "vllm:prompt_tokens_total", role: Role::PromptTokens },
    Family { name: "process_start_time_seconds", role: Role::Started },
];
