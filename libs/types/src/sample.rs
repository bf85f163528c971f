//! One reading of a model server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Incarnation;

/// The whole, in parts per million.
pub const PPM: u32 = 1_000_000;

/// One reading of a model server's metrics page, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// What changes all the time.
    pub gauges: Gauges,
    /// Size of the KV cache, where the page tells it.
    pub capacity: Option<Capacity>,
    /// LoRA adapters, where the page tells them.
    pub adapters: Option<Adapters>,
    /// When the server's process started, where the page tells it.
    pub incarnation: Incarnation,
    /// What it has done since it started, where the page tells all of it.
    pub counters: Option<Counters>,
}

/// What a model server has done since it started. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sum of the times between two tokens of an answer, in microseconds.
    pub inter_token_us_sum: u64,
    /// How many such times.
    pub inter_token_count: u64,
    /// Tokens of answers.
    pub generation_tokens: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
}

/// What a model server is busy with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    /// Requests that wait to be scheduled.
    pub waiting: u32,
    /// Requests that the server works on.
    pub running: u32,
    /// Share of the KV cache in use, in parts per million (0 to [`PPM`]); `None` where the server does not tell.
    pub kv_used_ppm: Option<u32>,
}

/// Size of a model server's KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Tokens that the KV cache can hold.
    pub kv_tokens: u64,
}

/// The LoRA adapters that a model server has at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapters {
    /// How many can be resident at once.
    pub slots: u32,
    /// Those with a running request, sorted.
    pub running: Vec<Arc<str>>,
    /// Those that a waiting request asks for, sorted.
    pub waiting: Vec<Arc<str>>,
}
