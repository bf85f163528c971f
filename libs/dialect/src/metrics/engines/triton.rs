//! Triton's metric families. With TensorRT-LLM a family has one series per value, distinguished by a label.
//! Triton does not report its start.

use crate::metrics::family::{Family, Role};

const REQUESTS: &str = "nv_trt_llm_request_metrics";
const BLOCKS: &str = "nv_trt_llm_kv_cache_block_metrics";
/// Requests that were executed, by any backend. A batch of n requests counts n.
const EXECUTED: &str = "nv_inference_count";

pub(super) const TENSORRT_LLM_FAMILIES: &[Family<'_>] = &[
    Family::with_label(REQUESTS, ("request_type", "waiting"), Role::Waiting),
    Family::with_label(REQUESTS, ("request_type", "scheduled"), Role::Running),
    Family::with_label(BLOCKS, ("kv_cache_block_type", "fraction"), Role::KvUse),
    Family::with_label(BLOCKS, ("kv_cache_block_type", "tokens_per"), Role::BlockTokens),
    Family::with_label(BLOCKS, ("kv_cache_block_type", "max"), Role::Blocks),
    Family::new(EXECUTED, Role::Requests),
    Family::new("process_start_time_seconds", Role::Started),
];

/// Families for every other backend. Only waiting requests have a gauge: running ones appear only in a
/// counter that never falls, and the KV cache, if any, is internal to the backend.
pub(super) const FAMILIES: &[Family<'_>] = &[
    Family::new("nv_inference_pending_request_count", Role::Waiting),
    Family::new(EXECUTED, Role::Requests),
    Family::new("process_start_time_seconds", Role::Started),
];
