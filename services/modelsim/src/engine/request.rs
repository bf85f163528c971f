//! A request in the engine.

use std::sync::Arc;

use super::event::{AdapterId, Arrival, RequestId, Usage};

/// A request in the waiting queue or the running batch.
pub(super) struct Request {
    pub(super) id: RequestId,
    /// Hashes of the full blocks of prompt and output, as far as they are known.
    pub(super) chain: Arc<[u64]>,
    pub(super) adapter: Option<AdapterId>,
    pub(super) prompt_tokens: u32,
    /// Number of tokens to produce.
    pub(super) target_tokens: u32,
    /// Whether the client limited the output.
    pub(super) is_limited: bool,
    /// Number of tokens produced so far.
    pub(super) output_tokens: u32,
    /// Time of the last token.
    pub(super) last_token_us: u64,
    /// Number of prompt and output tokens whose KV values are computed.
    pub(super) computed_tokens: u32,
    /// Number of tokens in the current pass.
    pub(super) scheduled_tokens: u32,
    /// KV blocks of the request; empty while it waits.
    pub(super) blocks: Vec<u32>,
    /// Number of leading `blocks` that are in the prefix cache.
    pub(super) cached_blocks: usize,
    /// Prompt tokens found in the prefix cache at the first admission.
    pub(super) cached_tokens: Option<u32>,
}

/// The kind of work that a request does in a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One output token.
    Decode,
    /// A chunk of the prompt, or of prompt and output after a preemption.
    Prefill,
}

impl Request {
    pub(super) fn new(arrival: Arrival, target_tokens: u32) -> Self {
        Self {
            id: arrival.id,
            chain: arrival.chain,
            adapter: arrival.adapter,
            prompt_tokens: arrival.prompt_tokens,
            target_tokens,
            is_limited: arrival.max_output_tokens.is_some(),
            output_tokens: 0,
            last_token_us: 0,
            computed_tokens: 0,
            scheduled_tokens: 0,
            blocks: Vec::new(),
            cached_blocks: 0,
            cached_tokens: None,
        }
    }

    /// Returns the number of prompt and output tokens so far.
    pub(super) fn known_tokens(&self) -> u32 {
        self.prompt_tokens + self.output_tokens
    }

    /// Returns the number of tokens to compute before the next one can be produced.
    pub(super) fn remaining_tokens(&self) -> u32 {
        self.known_tokens() - self.computed_tokens
    }

    pub(super) fn work(&self) -> Work {
        if self.output_tokens > 0 && self.remaining_tokens() == 1 { Work::Decode } else { Work::Prefill }
    }

    /// Returns the hashes of the blocks that may come from the prefix cache: the full blocks of the prompt and,
    /// after a preemption, of the output. They never cover all tokens, because the last one must be computed to
    /// produce the next.
    pub(super) fn reusable_chain(&self, block_size_tokens: u32) -> &[u64] {
        let full_blocks = ((self.known_tokens() - 1) / block_size_tokens) as usize;
        &self.chain[..self.chain.len().min(full_blocks)]
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens.unwrap_or(0),
            output_tokens: self.output_tokens,
        }
    }
}
