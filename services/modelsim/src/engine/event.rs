//! The inputs and effects of the engine.

use std::sync::Arc;

/// A request's number, chosen by the caller and unique among the live requests.
pub type RequestId = u64;

/// A LoRA adapter's number, chosen by the caller.
pub type AdapterId = u32;

/// A request that arrives at the model server.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Number of the request.
    pub id: RequestId,
    /// One hash per full block of the prompt, each covering everything before it (see [`crate::tokenizer`]),
    /// followed by the hashes of the blocks that the output will fill, as far as the caller knows them. An
    /// output block without a hash is never hit. Requests to different models or adapters must not share
    /// hashes.
    pub chain: Arc<[u64]>,
    /// Requested LoRA adapter; `None` requests the base model.
    pub adapter: Option<AdapterId>,
    /// Length of the prompt in tokens, at least 1.
    pub prompt_tokens: u32,
    /// Exact number of tokens to produce; `None` draws the length from the seed and the request's number.
    pub max_output_tokens: Option<u32>,
}

/// An input of the engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// A request arrives.
    Arrive(Arrival),
    /// A request is cancelled. Unknown numbers are ignored, because the request may have finished already.
    Cancel(RequestId),
    /// Only time passes.
    Tick,
}

/// The token counts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Length of the prompt.
    pub prompt_tokens: u32,
    /// Part of the prompt served from the prefix cache when the request was first admitted.
    pub cached_tokens: u32,
    /// Number of tokens produced.
    pub output_tokens: u32,
}

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The prompt is empty.
    #[error("the prompt cannot be empty")]
    EmptyPrompt,
    /// The requested output is empty.
    #[error("max_tokens must be at least 1")]
    NoOutput,
    /// Prompt and output together exceed the KV cache.
    #[error(
        "This model's maximum context length is {limit_tokens} tokens. However, you requested {output_tokens} output \
         tokens and your prompt contains {prompt_tokens} input tokens. Please reduce the length of the input prompt \
         or the number of requested output tokens."
    )]
    TooLarge {
        /// Length of the prompt.
        prompt_tokens: u32,
        /// Requested output tokens.
        output_tokens: u32,
        /// KV cache capacity.
        limit_tokens: u64,
    },
}

/// An effect of a step. Times are virtual microseconds and never decrease from one effect to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A request produced its first token.
    FirstToken {
        /// Number of the request.
        id: RequestId,
        /// End of the pass that produced the token.
        at_us: u64,
        /// Prompt tokens served from the prefix cache.
        cached_tokens: u32,
    },
    /// A request produced a further token.
    Token {
        /// Number of the request.
        id: RequestId,
        /// End of the pass that produced the token.
        at_us: u64,
    },
    /// A request finished. The effect for its last token comes before this one.
    Finished {
        /// Number of the request.
        id: RequestId,
        /// End of the last pass.
        at_us: u64,
        /// Token counts of the request.
        usage: Usage,
    },
    /// A request was rejected on arrival.
    Rejected {
        /// Number of the request.
        id: RequestId,
        /// Reason of the rejection.
        reason: Rejection,
    },
}
