//! The values parsed from a model server's metrics page.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::adapters::Adapters;
use crate::ids::Incarnation;

/// Parts per million in the whole.
pub const PPM: u32 = 1_000_000;

/// The values parsed from one metrics page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Current load of the server.
    pub gauges: Gauges,
    /// KV cache capacity, if the page reports it.
    pub capacity: Option<Capacity>,
    /// LoRA adapters, if the page reports them.
    pub adapters: Option<Arc<Adapters>>,
    /// Start time of the server process, if the page reports it.
    pub incarnation: Incarnation,
    /// Speed of decoding since the start, if the page reports all counters.
    pub counters: Option<Counters>,
    /// Work done since the start.
    pub work: Work,
    /// Whether the server is asleep: it answers only after it was woken up.
    pub is_asleep: bool,
}

/// Work that a model server has done since it started. Only differences between two samples are meaningful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sum of the times between consecutive output tokens, in microseconds.
    pub inter_token_us_sum: u64,
    /// Number of times in the sum.
    pub inter_token_count: u64,
    /// Output tokens.
    pub generation_tokens: u64,
    /// Prompt tokens.
    pub prompt_tokens: u64,
}

/// How much a model server has done since it started. No part falls while the server runs, so a part that
/// falls shows a restart. A part that the server does not report, or does not report yet, is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Requests that ended.
    pub requests: u64,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl Work {
    /// Returns whether any part is less than it was `earlier`.
    pub fn fell_since(&self, earlier: &Self) -> bool {
        self.requests < earlier.requests
            || self.prompt_tokens < earlier.prompt_tokens
            || self.output_tokens < earlier.output_tokens
    }
}

/// Current load of a model server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    /// Requests waiting to be scheduled.
    pub waiting: u32,
    /// Requests being processed; `None` if the server does not report them.
    pub running: Option<u32>,
    /// Share of the KV cache in use, in parts per million (0 to [`PPM`]); `None` if the server does not
    /// report it.
    pub kv_used_ppm: Option<u32>,
}

/// The capacity of a model server's KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Tokens that fit into the KV cache.
    pub kv_tokens: u64,
}
