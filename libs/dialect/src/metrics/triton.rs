//! Triton's names. With TensorRT-LLM in it a family has a series per figure, told apart by a label.

use super::table::{Family, Role};

const REQUESTS: &str = "nv_trt_llm_request_metrics";
const BLOCKS: &str = "nv_trt_llm_kv_cache_block_metrics";

pub(super) const TENSORRT_LLM_FAMILIES: &[Family] = &[
    Family::with(REQUESTS, ("request_type", "waiting"), Role::Waiting),
    Family::with(REQUESTS, ("request_type", "scheduled"), Role::Running),
    Family::with(BLOCKS, ("kv_cache_block_type", "fraction"), Role::KvUse),
    Family::with(BLOCKS, ("kv_cache_block_type", "tokens_per"), Role::BlockTokens),
    Family::with(BLOCKS, ("kv_cache_block_type", "max"), Role::Blocks),
    Family::new("process_start_time_seconds", Role::Started),
];

/// What it says of any backend: requests that wait. Those that run are only in a counter that never falls, and its KV cache, if it has one,
/// is its backend's affair.
pub(super) const FAMILIES: &[Family] = &[
    Family::new("nv_inference_pending_request_count", Role::Waiting),
    Family::new("process_start_time_seconds", Role::Started),
];
