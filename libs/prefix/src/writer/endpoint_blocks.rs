//! The blocks that one endpoint holds, in the order of their use.

use std::collections::{BTreeMap, BTreeSet};

use super::stored_run::BlockRef;
use crate::endpoint_slots::Slot;

/// The blocks that one endpoint holds.
///
/// A prompt that is sent to the endpoint uses all its blocks. Of the blocks that one prompt used last, each
/// but the last one is therefore followed by another: they are the tail of that prompt. The tail of the
/// prompt that was sent the longest ago consists of blocks that no other block depends on.
#[derive(Clone, Debug)]
pub(super) struct EndpointBlocks {
    pub(super) slot: Slot,
    /// Number of blocks that the endpoint was sent.
    pub(super) placed: usize,
    /// Digest over the last block of each use, and over the blocks that the engine reported.
    pub(super) digest: u64,
    /// The tail of each prompt, by the time at which it was sent.
    pub(super) tails: BTreeMap<u64, PromptTail>,
    /// The runs with blocks that the engine reported.
    pub(super) confirmed_runs: BTreeSet<u32>,
    /// Whether the engine ever reported a block.
    pub(super) was_confirmed: bool,
}

/// The blocks at the end of a prompt that no later prompt used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PromptTail {
    pub(super) last: BlockRef,
    pub(super) blocks: u32,
}

impl EndpointBlocks {
    pub(super) fn new(slot: Slot) -> Self {
        let (tails, confirmed_runs) = (BTreeMap::new(), BTreeSet::new());
        Self { slot, placed: 0, digest: 0, tails, confirmed_runs, was_confirmed: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tails.is_empty() && self.confirmed_runs.is_empty()
    }

    /// Returns the time of the least recent use.
    pub(super) fn oldest_use(&self) -> Option<u64> {
        self.tails.first_key_value().map(|(used, _)| *used)
    }

    pub(super) fn add_digest(&mut self, term: u64) {
        self.digest = self.digest.wrapping_add(term);
    }

    pub(super) fn subtract_digest(&mut self, term: u64) {
        self.digest = self.digest.wrapping_sub(term);
    }

    /// Removes `blocks` blocks from the tail of the prompt sent at `used`. Returns the last block of the tail
    /// if none remain.
    pub(super) fn shrink_tail(&mut self, used: u64, blocks: u32) -> Option<BlockRef> {
        let tail = self.tails.get_mut(&used)?;
        tail.blocks = tail.blocks.saturating_sub(blocks);
        if tail.blocks > 0 {
            return None;
        }
        self.tails.remove(&used).map(|tail| tail.last)
    }
}
