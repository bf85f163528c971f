//! One request inside the engine.

use std::sync::Arc;

use super::event::{AdapterId, Arrival, RequestId, Usage};

/// A request in the waiting queue or the running batch.
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) chain: Arc<[u64]>,
    pub(super) adapter: Option<AdapterId>,
    pub(super) prompt_tokens: u32,
    /// Tokens it will have produced when it finishes.
    pub(super) target_tokens: u32,
    /// Tokens produced so far.
    pub(super) output_tokens: u32,
    /// When the last of them was.
    pub(super) last_token_us: u64,
    /// Tokens of prompt and output whose KV is computed.
    pub(super) computed_tokens: u32,
    /// Tokens of the pass in progress.
    pub(super) scheduled_tokens: u32,
    /// KV blocks held; empty while waiting.
    pub(super) blocks: Vec<u32>,
    /// How many of `blocks` the prefix cache knows already.
    pub(super) published_blocks: usize,
    /// Prefix hits at the first admission.
    pub(super) cached_tokens: Option<u32>,
}

/// What a request's share of a pass is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One more token of the output.
    Decode,
    /// A chunk of the prompt, or of everything again after a preemption.
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
            output_tokens: 0,
            last_token_us: 0,
            computed_tokens: 0,
            scheduled_tokens: 0,
            blocks: Vec::new(),
            published_blocks: 0,
            cached_tokens: None,
        }
    }

    /// Prompt and output so far.
    pub(super) fn known_tokens(&self) -> u32 {
        self.prompt_tokens + self.output_tokens
    }

    /// Tokens to compute before the next one can be produced.
    pub(super) fn remaining_tokens(&self) -> u32 {
        self.known_tokens() - self.computed_tokens
    }

    pub(super) fn work(&self) -> Work {
        if self.output_tokens > 0 && self.remaining_tokens() == 1 { Work::Decode } else { Work::Prefill }
    }

    /// The blocks that may be taken from the prefix cache: full blocks, and never all of the prompt, because the
    /// last token must be computed to produce the next.
    pub(super) fn reusable_chain(&self, block_size_tokens: u32) -> &[u64] {
        let full_blocks = (self.prompt_tokens.min(self.known_tokens() - 1) / block_size_tokens) as usize;
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
