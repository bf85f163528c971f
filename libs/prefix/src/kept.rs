//! What the writer keeps of a run.

use std::sync::Arc;

use signalbox_types::BlockHash;
use smallvec::{SmallVec, smallvec};

use crate::shown::{Reach, Shown};
use crate::slots::Slot;
use crate::tier::Extent;

/// Every chain's blocks at positions that are multiples of this can be anchors.
pub(crate) const MARK_EVERY: u32 = 16;

/// A block's place: a run by its number, and how many blocks of the run come before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) run: u32,
    pub(crate) offset: u32,
}

/// The blocks of a run before `end`, and after the end of the use before, were last used by an endpoint at `used`. Along a chain uses only get
/// older: whoever uses a block uses all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) used: u64,
    pub(crate) slot: Slot,
    pub(crate) end: u32,
}

/// Consecutive blocks of one chain, as the writer keeps them.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) blocks: Arc<[BlockHash]>,
    /// How many of `blocks` count.
    pub(crate) len: u32,
    /// Position in its chain of the first block.
    pub(crate) start: u32,
    /// The block before the first one.
    pub(crate) parent: Option<At>,
    /// In order of slot, then of end.
    pub(crate) uses: SmallVec<[Use; 1]>,
    /// In order of slot, then of where they begin.
    pub(crate) confirmed: Vec<Extent>,
    /// After which blocks other runs begin, in order, and how many.
    forks: SmallVec<[(u32, u32); 1]>,
}

impl Kept {
    pub(crate) fn new(blocks: Arc<[BlockHash]>, parent: Option<At>, start: u32) -> Self {
        let len = blocks.len() as u32;
        let (uses, confirmed, forks) = (smallvec![], Vec::new(), smallvec![]);
        Self { blocks, len, start, parent, uses, confirmed, forks }
    }

    pub(crate) fn blocks(&self) -> &[BlockHash] {
        &self.blocks[..self.len as usize]
    }

    pub(crate) fn shown(&self) -> Shown {
        let ends = self.uses.chunk_by(|a, b| a.slot == b.slot).filter_map(<[Use]>::last);
        let reaches = ends.map(|Use { slot, end, .. }| Reach { slot: *slot, end: *end });
        Shown::new(Arc::clone(&self.blocks), self.len, reaches, &self.confirmed)
    }

    /// The offsets in `range` whose blocks are found by their hashes: the first, and the marks.
    pub(crate) fn marked(&self, range: std::ops::Range<u32>) -> impl Iterator<Item = u32> + use<> {
        let (from, start) = (range.start, self.start);
        let first = (from == 0 && !range.is_empty()).then_some(0);
        let to_mark = (MARK_EVERY - (start + from) % MARK_EVERY) % MARK_EVERY;
        let marks = (from + to_mark..range.end).step_by(MARK_EVERY as usize);
        first.into_iter().chain(marks.filter(move |at| *at != 0 || first.is_none()))
    }

    /// When `slot` last used the block at `offset`.
    pub(crate) fn used_at(&self, slot: Slot, offset: u32) -> Option<u64> {
        let at = self.uses.partition_point(|each| (each.slot, each.end) <= (slot, offset));
        self.uses.get(at).filter(|each| each.slot == slot).map(|each| each.used)
    }

    /// The first `end` blocks were used by `slot` at `used`; `again` is told of what was used before, and how many blocks of it
    /// were used again. Returns how many blocks are new to `slot`.
    pub(crate) fn renew(&mut self, new: Use, mut again: impl FnMut(u64, u32)) -> u32 {
        let first = self.uses.partition_point(|each| each.slot < new.slot);
        let (mut last, mut before) = (first, 0);
        while let Some(each) = self.uses.get(last).filter(|each| each.slot == new.slot && before < new.end) {
            again(each.used, each.end.min(new.end) - before);
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

    /// Takes at most `limit` blocks from the end of what `slot` was sent, if it ends at `end` and was used at `used`; returns how many.
    pub(crate) fn shorten(&mut self, Use { used, slot, end }: Use, limit: u32) -> Option<u32> {
        let at = self.uses.partition_point(|each| each.slot <= slot).checked_sub(1)?;
        if self.uses[at] != (Use { used, slot, end }) {
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

    /// A run begins after the block at `offset`.
    pub(crate) fn fork(&mut self, offset: u32) {
        match self.forks.binary_search_by_key(&offset, |(at, _)| *at) {
            Ok(at) => self.forks[at].1 += 1,
            Err(at) => self.forks.insert(at, (offset, 1)),
        }
    }

    /// A run that began after the block at `offset` is gone.
    pub(crate) fn unfork(&mut self, offset: u32) {
        if let Ok(at) = self.forks.binary_search_by_key(&offset, |(at, _)| *at) {
            self.forks[at].1 -= 1;
            if self.forks[at].1 == 0 {
                self.forks.remove(at);
            }
        }
    }

    /// How many leading blocks are held, or lead to held ones.
    pub(crate) fn needed(&self) -> u32 {
        let placed = self.uses.iter().map(|each| each.end).max();
        let confirmed = self.confirmed.iter().map(|extent| extent.to).max();
        let forked = self.forks.last().map(|(at, _)| at + 1);
        placed.max(confirmed).max(forked).unwrap_or(0)
    }
}
