//! A run as the writer stores it.

use std::sync::Arc;

use signalbox_types::BlockHash;
use smallvec::{SmallVec, smallvec};

use crate::anchor::ANCHOR_INTERVAL;
use crate::endpoint_slots::Slot;
use crate::extent::Extent;
use crate::reader::{Holder, PublishedRun};

/// The position of a block: the index of its run, and the number of the run's blocks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRef {
    pub(super) run: u32,
    pub(super) offset: u32,
}

/// The blocks of a run that an endpoint last used at `used`: those before `end`, and after the end of the
/// endpoint's previous use. Uses only get older along a chain, because a prompt that uses a block uses all
/// blocks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockUse {
    pub(super) used: u64,
    pub(super) slot: Slot,
    pub(super) end: u32,
}

/// Consecutive blocks of one chain, as the writer stores them.
#[derive(Clone, Debug)]
pub(super) struct StoredRun {
    pub(super) blocks: Arc<[BlockHash]>,
    /// Number of leading `blocks` that belong to the run.
    pub(super) len: u32,
    /// Position of the first block in its chain.
    pub(super) start: u32,
    /// Block before the first one.
    pub(super) parent: Option<BlockRef>,
    /// In order of slot, then of end.
    pub(super) uses: SmallVec<[BlockUse; 1]>,
    /// In order of slot, then of `from`.
    pub(super) confirmed: Vec<Extent>,
    /// Offsets of the blocks after which other runs start, in order, and the number of these runs.
    branches: SmallVec<[(u32, u32); 1]>,
}

impl StoredRun {
    pub(super) fn new(blocks: Arc<[BlockHash]>, parent: Option<BlockRef>, start: u32) -> Self {
        let len = blocks.len() as u32;
        let (uses, confirmed, branches) = (smallvec![], Vec::new(), smallvec![]);
        Self { blocks, len, start, parent, uses, confirmed, branches }
    }

    pub(super) fn blocks(&self) -> &[BlockHash] {
        &self.blocks[..self.len as usize]
    }

    /// Returns the run as readers see it.
    pub(super) fn to_published(&self) -> PublishedRun {
        let ends = self.uses.chunk_by(|a, b| a.slot == b.slot).filter_map(<[BlockUse]>::last);
        let holders = ends.map(|BlockUse { slot, end, .. }| Holder { slot: *slot, end: *end });
        PublishedRun::new(Arc::clone(&self.blocks), self.len, holders, &self.confirmed)
    }

    /// Returns how many blocks the endpoint of `slot` was sent.
    pub(super) fn holder(&self, slot: Slot) -> Holder {
        let after = self.uses.partition_point(|each| each.slot <= slot);
        let last = after.checked_sub(1).map(|at| self.uses[at]).filter(|each| each.slot == slot);
        Holder { slot, end: last.map_or(0, |each| each.end) }
    }

    /// Returns the offsets in `range` of the blocks that are found by their hashes: the first block and
    /// possible anchors.
    pub(super) fn indexed_offsets(&self, range: std::ops::Range<u32>) -> impl Iterator<Item = u32> + use<> {
        let (from, start) = (range.start, self.start);
        let first = (from == 0 && !range.is_empty()).then_some(0);
        let to_anchor = (ANCHOR_INTERVAL - (start + from) % ANCHOR_INTERVAL) % ANCHOR_INTERVAL;
        let anchors = (from + to_anchor..range.end).step_by(ANCHOR_INTERVAL as usize);
        first.into_iter().chain(anchors.filter(move |at| *at != 0 || first.is_none()))
    }

    /// Returns when the endpoint of `slot` last used the block at `offset`.
    pub(super) fn last_used(&self, slot: Slot, offset: u32) -> Option<u64> {
        let at = self.uses.partition_point(|each| (each.slot, each.end) <= (slot, offset));
        self.uses.get(at).filter(|each| each.slot == slot).map(|each| each.used)
    }

    /// Records that the endpoint of `new.slot` used the first `new.end` blocks at `new.used`. Calls
    /// `on_reuse` with the time of each earlier use and the number of its blocks that are used again. Returns
    /// how many blocks are new to the endpoint.
    pub(super) fn record_use(&mut self, new: BlockUse, mut on_reuse: impl FnMut(u64, u32)) -> u32 {
        let first = self.uses.partition_point(|each| each.slot < new.slot);
        let (mut last, mut before) = (first, 0);
        while let Some(each) = self.uses.get(last).filter(|each| each.slot == new.slot && before < new.end) {
            on_reuse(each.used, each.end.min(new.end) - before);
            if each.end > new.end {
                before = new.end;
                break;
            }
            (before, last) = (each.end, last + 1);
        }
        if last == first {
            self.uses.insert(first, new);
        } else {
            self.uses[first] = new;
            self.uses.drain(first + 1..last);
        }
        new.end - before
    }

    /// Removes up to `limit` blocks from the end of what the endpoint of `slot` was sent, and returns how
    /// many were removed. Returns `None` if the endpoint's last use does not end at `end` or was not at
    /// `used`.
    pub(super) fn evict_tail(&mut self, BlockUse { used, slot, end }: BlockUse, limit: u32) -> Option<u32> {
        let at = self.uses.partition_point(|each| each.slot <= slot).checked_sub(1)?;
        if self.uses[at] != (BlockUse { used, slot, end }) {
            return None;
        }
        let before = at.checked_sub(1).map(|at| self.uses[at]).filter(|each| each.slot == slot);
        let taken = limit.min(end - before.map_or(0, |each| each.end));
        if before.map_or(0, |each| each.end) + taken == end {
            self.uses.remove(at);
        } else {
            self.uses[at].end -= taken;
        }
        Some(taken)
    }

    /// Records that a run starts after the block at `offset`.
    pub(super) fn add_branch(&mut self, offset: u32) {
        match self.branches.binary_search_by_key(&offset, |(at, _)| *at) {
            Ok(at) => self.branches[at].1 += 1,
            Err(at) => self.branches.insert(at, (offset, 1)),
        }
    }

    /// Records that a run which started after the block at `offset` was removed.
    pub(super) fn remove_branch(&mut self, offset: u32) {
        if let Ok(at) = self.branches.binary_search_by_key(&offset, |(at, _)| *at) {
            self.branches[at].1 -= 1;
            if self.branches[at].1 == 0 {
                self.branches.remove(at);
            }
        }
    }

    /// Returns how many leading blocks endpoints hold, or are on the way to blocks that endpoints hold.
    pub(super) fn needed_len(&self) -> u32 {
        let placed = self.uses.iter().map(|each| each.end).max();
        let confirmed = self.confirmed.iter().map(|extent| extent.to).max();
        let branched = self.branches.last().map(|(at, _)| at + 1);
        placed.max(confirmed).max(branched).unwrap_or(0)
    }
}
