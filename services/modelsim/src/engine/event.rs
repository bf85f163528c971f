//! What goes into the engine and what comes out of it.

use std::sync::Arc;

/// A request's number, chosen by the caller, unique among the requests that live at the same time.
pub type RequestId = u64;

/// A LoRA adapter's number, chosen by the caller.
pub type AdapterId = u32;

/// A request that reaches the model server.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its number.
    pub id: RequestId,
    /// One hash per full block of the prompt, each covering everything before it (see [`crate::tokens`]). Prompts of
    /// different models or adapters must not share hashes.
    pub chain: Arc<[u64]>,
    /// The LoRA adapter that it asks for; without one the model itself answers.
    pub adapter: Option<AdapterId>,
    /// Length of the prompt in tokens, at least one.
    pub prompt_tokens: u32,
    /// Tokens to produce, exactly; without it the length is drawn from the seed and the request's number.
    pub max_output_tokens: Option<u32>,
}

/// What can happen to the engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// A request came in.
    Arrive(Arrival),
    /// A request's client went away. Unknown numbers are ignored: the request may just have finished.
    Cancel(RequestId),
    /// Nothing but time passed.
    Tick,
}

/// What a request cost, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Length of the prompt.
    pub prompt_tokens: u32,
    /// Part of the prompt served from the prefix cache when the request was first admitted.
    pub cached_tokens: u32,
    /// Tokens produced.
    pub output_tokens: u32,
}

/// Why a request can never be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The prompt has no token.
    #[error("the prompt cannot be empty")]
    EmptyPrompt,
    /// No output was asked for.
    #[error("max_tokens must be at least 1")]
    NoOutput,
    /// Prompt and output together exceed the whole KV cache.
    #[error(
        "This model's maximum context length is {limit_tokens} tokens. However, you requested {output_tokens} output \
         tokens and your prompt contains {prompt_tokens} input tokens. Please reduce the length of the input prompt \
         or the number of requested output tokens."
    )]
    TooLarge {
        /// Length of the prompt.
        prompt_tokens: u32,
        /// Output asked for.
        output_tokens: u32,
        /// What the whole KV cache holds.
        limit_tokens: u64,
    },
}

/// What the engine did. Times are virtual microseconds and never decrease from one effect to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A request produced its first token.
    FirstToken {
        /// The request.
        id: RequestId,
        /// When the pass ended that produced it.
        at_us: u64,
        /// Part of its prompt that came from the prefix cache.
        cached_tokens: u32,
    },
    /// A request produced one more token.
    Token {
        /// The request.
        id: RequestId,
        /// When the pass ended that produced it.
        at_us: u64,
    },
    /// A request produced its last token (an effect of its own, before this one) and left.
    Finished {
        /// The request.
        id: RequestId,
        /// When.
        at_us: u64,
        /// What it cost.
        usage: Usage,
    },
    /// A request was turned away on arrival.
    Rejected {
        /// The request.
        id: RequestId,
        /// Why.
        reason: Rejection,
    },
}

/// A reading of the engine: gauges now, counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests in the running batch.
    pub running: u32,
    /// Requests waiting for admission, preempted ones included.
    pub waiting: u32,
    /// KV blocks referenced by running requests.
    pub used_blocks: u32,
    /// KV blocks that nobody references but the prefix cache can still serve.
    pub idle_cached_blocks: u32,
    /// All KV blocks.
    pub total_blocks: u32,
    /// Prompt tokens looked up in the prefix cache at first admission.
    pub prefix_queries_tokens: u64,
    /// Those of them that were found.
    pub prefix_hits_tokens: u64,
    /// Prompt tokens of requests that produced their first token.
    pub prompt_tokens: u64,
    /// Tokens produced.
    pub generation_tokens: u64,
    /// Times a running request lost its blocks to an older one.
    pub preemptions: u64,
    /// Requests that finished.
    pub finished: u64,
    /// Sum of the times between two tokens of a request, in virtual microseconds.
    pub inter_token_us_sum: u64,
    /// How many such times.
    pub inter_token_count: u64,
    /// LoRA adapters read from disk.
    pub lora_disk_loads: u64,
    /// LoRA adapters brought back from host memory to the device.
    pub lora_host_loads: u64,
}

/// A reading of the LoRA adapters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdapterReading {
    /// Those of requests in the batch, in order of number.
    pub running: Vec<AdapterId>,
    /// Those of waiting requests, in order of number.
    pub waiting: Vec<AdapterId>,
    /// Those in a slot of the device, the least recently used first.
    pub resident: Vec<AdapterId>,
    /// Those in host memory, residents included, the least recently used first.
    pub host: Vec<AdapterId>,
}

impl Stats {
    /// Share of KV blocks in use, 0 to 1, as vLLM reports it: idle cached blocks are free.
    #[must_use]
    pub fn kv_usage(&self) -> f64 {
        if self.total_blocks == 0 { 0.0 } else { f64::from(self.used_blocks) / f64::from(self.total_blocks) }
    }
}
