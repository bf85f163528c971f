//! Everything that a decision reads.

use signalbox_state::{EndpointState, LocalState, PrefixMatches, View};
use signalbox_types::{Load, Request};

/// Bytes of prompt that count as one token.
const BYTES_PER_TOKEN: u64 = 4;

/// Everything that a decision reads, gathered once per request.
#[derive(Clone, Copy, Debug)]
pub struct DecisionInputs<'a> {
    /// View of the pool.
    pub view: &'a View,
    /// State of this process that is newer than the view.
    pub local: &'a LocalState,
    /// How much of the prompt each endpoint holds.
    pub matches: &'a PrefixMatches,
    /// Request to decide on.
    pub request: &'a Request,
}

impl<'a> DecisionInputs<'a> {
    /// Returns the endpoint at `position` of the view.
    pub(crate) fn endpoint(&self, position: usize) -> &'a EndpointState {
        &self.view.endpoints[position]
    }

    /// Returns all booked work in flight at the endpoint at `position`.
    pub(crate) fn load(&self, position: usize) -> Load {
        self.local.load_at(position, self.endpoint(position))
    }

    /// Returns the number of tokens per prompt block.
    pub(crate) fn block_tokens(&self) -> u64 {
        u64::from(self.view.format.block_bytes) / BYTES_PER_TOKEN
    }

    /// Returns the number of leading prompt blocks that the endpoint at `position` holds.
    pub(crate) fn held_blocks(&self, position: usize) -> u64 {
        self.matches.blocks.get(position).map_or(0, |blocks| *blocks as u64)
    }

    /// Returns the share of the prompt's blocks that the endpoint at `position` holds from the start on, 0 to
    /// 1.
    pub(crate) fn held_share(&self, position: usize) -> f64 {
        match self.matches.total {
            0 => 0.0,
            total => self.held_blocks(position) as f64 / total as f64,
        }
    }

    /// Returns the number of prompt tokens after the blocks that the endpoint at `position` holds.
    pub(crate) fn unmatched_tokens(&self, position: usize) -> u64 {
        self.request.prompt_tokens.saturating_sub(self.held_blocks(position) * self.block_tokens())
    }

    /// Returns whether the gateway allows the endpoint at `position`.
    pub(crate) fn is_allowed(&self, position: usize) -> bool {
        let subset = self.request.subset.as_ref();
        subset.is_none_or(|subset| subset.allows(self.endpoint(position).spec.address))
    }

    /// Returns the number of prompt tokens that the endpoint at `position` need not prefill. The last token
    /// is always computed, because the first output token follows from it.
    pub(crate) fn cached_tokens(&self, position: usize) -> u64 {
        let held_tokens = self.held_blocks(position) * self.block_tokens();
        held_tokens.min(self.request.prompt_tokens.saturating_sub(1))
    }
}
