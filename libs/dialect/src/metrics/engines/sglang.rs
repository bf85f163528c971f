//! SGLang's metric families. Newer releases report the KV cache capacity in two gauges, older ones in labels.
//! Each rank of a tensor or pipeline group reports the load of its group; data-parallel groups are told apart
//! by the label `dp_rank`. The page has no `process_start_time_seconds`.

use crate::metrics::family::{Family, Role};

const GROUP: &str = "dp_rank";

pub(super) const FAMILIES: &[Family<'_>] = &[
    Family::per_part("sglang:num_queue_reqs", GROUP, Role::Waiting),
    Family::per_part("sglang:num_running_reqs", GROUP, Role::Running),
    Family::per_part("sglang:token_usage", GROUP, Role::KvUse),
    Family::per_part(
        "sglang:cache_config_info",
        GROUP,
        Role::CacheLabels { block: "page_size", blocks: "num_pages" },
    ),
    Family::per_part("sglang:page_size", GROUP, Role::BlockTokens),
    Family::per_part("sglang:num_pages", GROUP, Role::Blocks),
    Family::new("sglang:inter_token_latency_seconds_sum", Role::InterTokenSum),
    Family::new("sglang:inter_token_latency_seconds_count", Role::InterTokenCount),
    Family::new("sglang:generation_tokens_total", Role::GenerationTokens),
    Family::new("sglang:prompt_tokens_total", Role::PromptTokens),
    Family::new("sglang:num_requests_total", Role::Requests),
    Family::new("process_start_time_seconds", Role::Started),
];
