//! What a decision reads.

use signalbox_state::{Local, Matches, Member, View};
use signalbox_types::{Load, Request};

/// Bytes of prompt that count as one token.
const BYTES_PER_TOKEN: u64 = 4;

/// What a decision reads, gathered once per request.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The pool.
    pub view: &'a View,
    /// What this process knows better than the pool.
    pub local: &'a Local,
    /// How much of the prompt each endpoint holds.
    pub matches: &'a Matches,
    /// The request.
    pub request: &'a Request,
}

impl<'a> Ground<'a> {
    /// The endpoint at `position` of the view.
    pub(crate) fn member(&self, position: usize) -> &'a Member {
        &self.view.members[position]
    }

    /// All work in flight at `position`, so far as replicas gave it.
    pub(crate) fn load(&self, position: usize) -> Load {
        self.local.load_at(position, self.member(position))
    }

    /// Tokens of a block of prompt.
    pub(crate) fn block_tokens(&self) -> u64 {
        u64::from(self.view.format.block_bytes) / BYTES_PER_TOKEN
    }

    /// Leading blocks of the prompt that the endpoint at `position` holds.
    pub(crate) fn held_blocks(&self, position: usize) -> u64 {
        self.matches.blocks.get(position).map_or(0, |blocks| *blocks as u64)
    }

    /// Prompt tokens that the endpoint at `position` holds already. The last token is always computed: the first token of the
    /// answer comes out of it.
    pub(crate) fn cached_tokens(&self, position: usize) -> u64 {
        let held_tokens = self.held_blocks(position) * self.block_tokens();
        held_tokens.min(self.request.prompt_tokens.saturating_sub(1))
    }
}
