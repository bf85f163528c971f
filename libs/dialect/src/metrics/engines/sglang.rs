//! SGLang's metric families. Newer releases report the KV cache capacity in two gauges, older ones in labels.

use crate::metrics::family::{Family, Role};

pub(super) const FAMILIES: &[Family] = &[
    Family::new("sglang:num_queue_reqs", Role::Waiting),
    Family::new("sglang:num_running_reqs", Role::Running),
    Family::new("sglang:token_usage", Role::KvUse),
    Family::new("sglang:cache_config_info", Role::CacheLabels { block: "page_size", blocks: "num_pages" }),
    Family::new("sglang:page_size", Role::BlockTokens),
    Family::new("sglang:num_pages", Role::Blocks),
    Family::new("sglang:inter_token_latency_seconds_sum", Role::InterTokenSum),
    Family::new("sglang:inter_token_latency_seconds_count", Role::InterTokenCount),
    Family::new("sglang:generation_tokens_total", Role::GenerationTokens),
    Family::new("sglang:prompt_tokens_total", Role::PromptTokens),
    Family::new("process_start_time_seconds", Role::Started),
];
