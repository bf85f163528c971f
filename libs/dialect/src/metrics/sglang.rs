//! SGLang's names. Newer releases tell the size of the KV cache by two gauges, older ones by labels.

use super::table::{Family, Role};

pub(super) const FAMILIES: &[Family] = &[
    Family { name: "sglang:num_queue_reqs", role: Role::Waiting },
    Family { name: "sglang:num_running_reqs", role: Role::Running },
    Family { name: "sglang:token_usage", role: Role::KvUse },
    Family {
        name: "sglang:cache_config_info",
        role: Role::CacheLabels { block: "page_size", blocks: "num_pages" },
    },
    Family { name: "sglang:page_size", role: Role::BlockTokens },
    Family { name: "sglang:num_pages", role: Role::Blocks },
    Family { name: "sglang:inter_token_latency_seconds_sum", role: Role::InterTokenSum },
    Family { name: "sglang:inter_token_latency_seconds_count", role: Role::InterTokenCount },
    Family { name: "sglang:generation_tokens_total", role: Role::GenerationTokens },
    Family { name: "sglang:prompt_tokens_total", role: Role::PromptTokens },
    Family { name: "process_start_time_seconds", role: Role::Started },
];
