//! Metric families of TensorRT-LLM's own server.

use crate::metrics::family::{Family, Role};

pub(super) const FAMILIES: &[Family<'_>] = &[
    Family::new("trtllm_num_requests_waiting", Role::Waiting),
    Family::new("trtllm_num_requests_running", Role::Running),
    Family::new("trtllm_kv_cache_utilization", Role::KvUse),
    Family::new("trtllm_kv_cache_tokens_per_block", Role::BlockTokens),
    Family::new("trtllm_kv_cache_max_blocks", Role::Blocks),
    Family::new("trtllm_request_success_total", Role::Requests),
    Family::new("trtllm_prompt_tokens_total", Role::PromptTokens),
    Family::new("trtllm_generation_tokens_total", Role::GenerationTokens),
    Family::new("process_start_time_seconds", Role::Started),
];
