//! The values that can be read from the engine.

use super::event::AdapterId;

/// Gauges with current values, and counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests in the running batch.
    pub running: u32,
    /// Requests waiting for admission, preempted ones included.
    pub waiting: u32,
    /// KV blocks referenced by running requests.
    pub used_blocks: u32,
    /// Free KV blocks that the prefix cache can still serve.
    pub idle_cached_blocks: u32,
    /// Number of all KV blocks.
    pub total_blocks: u32,
    /// Prompt tokens looked up in the prefix cache at first admission.
    pub prefix_queries_tokens: u64,
    /// Prompt tokens found there.
    pub prefix_hits_tokens: u64,
    /// Prompt tokens of requests that produced their first token.
    pub prompt_tokens: u64,
    /// Number of tokens produced.
    pub generation_tokens: u64,
    /// Number of times a running request lost its blocks to an older one.
    pub preemptions: u64,
    /// Number of finished requests.
    pub finished: u64,
    /// Number of those whose client limited the output.
    pub finished_at_limit: u64,
    /// Number of requests that were cancelled before they finished.
    pub cancelled: u64,
    /// Sum of the times between two tokens of a request, in virtual microseconds.
    pub inter_token_us_sum: u64,
    /// Number of such times.
    pub inter_token_count: u64,
    /// Number of LoRA adapters loaded from disk.
    pub lora_disk_loads: u64,
    /// Number of LoRA adapters loaded from host memory.
    pub lora_host_loads: u64,
}

/// The current use and residency of the LoRA adapters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdapterStats {
    /// Adapters of running requests, by number.
    pub running: Vec<AdapterId>,
    /// Adapters of waiting requests, by number.
    pub waiting: Vec<AdapterId>,
    /// Adapters in device slots or on the way into one, least recently used first.
    pub resident: Vec<AdapterId>,
    /// Adapters in host memory, including those in device slots, least recently used first.
    pub host: Vec<AdapterId>,
}

impl Stats {
    /// Returns the share of KV blocks in use, 0 to 1, as vLLM reports it: idle cached blocks count as free.
    #[must_use]
    pub fn kv_usage(&self) -> f64 {
        if self.total_blocks == 0 { 0.0 } else { f64::from(self.used_blocks) / f64::from(self.total_blocks) }
    }
}
