//! A run as readers see it: its blocks, and how many of them each endpoint holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use signalbox_types::BlockHash;

use super::holders::{Holder, Holders};
use crate::endpoint_slots::Slot;
use crate::extent::Extent;
use crate::residency::Residency;
use crate::shared_prefix::shared_prefix_len;

/// Consecutive blocks of one chain. Readers find a run by its first block; a chain that leaves the run at any
/// block continues in a run of its own.
///
/// The writer replaces it when it grows or when engines report blocks. Otherwise it changes it: what endpoints were sent,
/// and its length, which only shrinks.
#[derive(Debug)]
pub(crate) struct PublishedRun {
    blocks: Arc<[BlockHash]>,
    /// Number of leading `blocks` that belong to the run.
    len: AtomicU32,
    placed: Holders,
    /// In order of slot, then of `from`.
    confirmed: Option<Box<[Extent]>>,
}

impl PublishedRun {
    pub(crate) fn new(
        blocks: Arc<[BlockHash]>,
        len: u32,
        placed: impl Iterator<Item = Holder>,
        confirmed: &[Extent],
    ) -> Self {
        let confirmed = (!confirmed.is_empty()).then(|| confirmed.into());
        Self { blocks, len: AtomicU32::new(len), placed: Holders::new(placed, len), confirmed }
    }

    /// Changes how many blocks one endpoint was sent, and the length of the run. Returns whether this was possible: the run
    /// must have the same `blocks`, and room for the holder, and holders of the whole run must still mean the same blocks.
    pub(crate) fn update(&self, blocks: &Arc<[BlockHash]>, len: u32, holder: Holder) -> bool {
        // A reader that has read the length would take later holders of the whole run for holders of the earlier length.
        let is_shorter_whole = len < self.len() && self.placed.has_whole();
        let is_updated =
            !is_shorter_whole && Arc::ptr_eq(blocks, &self.blocks) && self.placed.set(holder, self.len());
        if is_updated {
            self.len.store(len, Ordering::Release);
        }
        is_updated
    }

    fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Returns how many leading blocks of `chain` the run has. Both start with the same block.
    pub(super) fn matching_blocks(&self, chain: &[BlockHash]) -> usize {
        shared_prefix_len(&self.blocks[..self.len() as usize], chain)
    }

    /// Returns the blocks that engines reported.
    pub(super) fn confirmed(&self) -> &[Extent] {
        self.confirmed.as_deref().unwrap_or_default()
    }

    /// Extends the endpoints' matches `ends` by the blocks that they were sent, among the first `matching`
    /// blocks of this run. The run starts at position `at`, and no match ends after it. Returns the end of
    /// the longest match.
    ///
    /// An endpoint that was sent a block was sent all blocks before it, so the previous end of a match does
    /// not matter.
    pub(super) fn extend_placed(&self, at: u32, matching: u32, ends: &mut [u32]) -> u32 {
        self.placed.extend(at, matching, ends)
    }

    /// Extends the endpoints' matches as [`Self::extend_placed`] does, by the blocks that engines reported.
    /// An extent counts only if the endpoint's match reaches its start.
    pub(super) fn extend_confirmed(&self, at: u32, matching: u32, ends: &mut [u32]) -> u32 {
        let mut longest = 0;
        for extent in self.confirmed() {
            let Some(end) = ends.get_mut(extent.slot as usize) else { continue };
            if at + extent.from <= *end {
                *end = (*end).max(at + extent.to.min(matching));
                longest = longest.max(*end);
            }
        }
        longest
    }

    /// Returns how many of the first `upto` blocks the endpoint of `slot` keeps in host memory and on disk,
    /// each block counted at its fastest residency.
    pub(super) fn off_device_blocks(&self, slot: Slot, upto: u32) -> impl Iterator<Item = (Residency, u32)> {
        let from = self.confirmed().partition_point(|extent| extent.slot < slot);
        let own = &self.confirmed()[from..];
        let own = &own[..own.partition_point(|extent| extent.slot == slot)];
        let slower = [Residency::Host, Residency::Disk];
        slower.into_iter().map(move |residency| (residency, Extent::count_at(own, residency, upto)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a run of ten blocks that the first `count` endpoints were sent.
    fn run(blocks: &Arc<[BlockHash]>, count: Slot) -> PublishedRun {
        PublishedRun::new(Arc::clone(blocks), 10, (0..count).map(|slot| Holder { slot, end: 10 }), &[])
    }

    #[test]
    fn reader_of_a_run_that_shrinks_takes_no_later_holder_for_one_of_the_earlier_length() {
        let blocks: Arc<[_]> = (1..=10).map(BlockHash).collect();
        for count in [3, 40] {
            let run = run(&blocks, count);
            let matching = run.matching_blocks(&blocks) as u32;
            // The last endpoint loses the end of the run, and a new one is sent what is left.
            let shorter = Holder { slot: count - 1, end: 6 };
            let is_changed =
                run.update(&blocks, 6, shorter) && run.update(&blocks, 6, Holder { slot: count, end: 6 });
            let mut ends = vec![0; 64];
            run.extend_placed(0, matching, &mut ends);
            assert!(!is_changed || ends[count as usize] == 6, "{count} endpoints: {ends:?}");
            assert!(count > 16 || is_changed);
        }
    }
}
