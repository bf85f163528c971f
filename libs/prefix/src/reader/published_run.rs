//! A run as readers see it: its blocks, and how many of them each endpoint holds.

use std::sync::Arc;

use signalbox_types::BlockHash;
use smallvec::SmallVec;

use crate::endpoint_slots::Slot;
use crate::extent::Extent;
use crate::residency::Residency;
use crate::shared_prefix::shared_prefix_len;

/// Up to this many holders are a list; beyond it, the holders of the whole run are a bit set.
const FEW_HOLDERS: usize = 8;

/// Consecutive blocks of one chain. Readers find a run by its first block; a chain that leaves the run at any
/// block continues in a run of its own.
#[derive(Clone, Debug)]
pub(crate) struct PublishedRun {
    blocks: Arc<[BlockHash]>,
    /// Number of leading `blocks` that belong to the run.
    len: u32,
    placed: Holders,
    /// In order of slot, then of `from`.
    confirmed: Option<Box<[Extent]>>,
}

/// An endpoint that was sent prompts which start with the first `end` blocks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) slot: Slot,
    pub(crate) end: u32,
}

/// The endpoints that were sent blocks of a run.
#[derive(Clone, Debug)]
enum Holders {
    Few(SmallVec<[Holder; 2]>),
    Many {
        /// One bit for each slot: the endpoints that were sent the whole run.
        whole: Box<[u64]>,
        /// The endpoints that were sent only the beginning.
        partial: Box<[Holder]>,
    },
}

impl PublishedRun {
    pub(crate) fn new(
        blocks: Arc<[BlockHash]>,
        len: u32,
        placed: impl Iterator<Item = Holder>,
        confirmed: &[Extent],
    ) -> Self {
        let placed: SmallVec<[Holder; 2]> = placed.collect();
        let placed =
            if placed.len() <= FEW_HOLDERS { Holders::Few(placed) } else { Holders::many(&placed, len) };
        let confirmed = (!confirmed.is_empty()).then(|| confirmed.into());
        Self { blocks, len, placed, confirmed }
    }

    /// Returns how many leading blocks of `chain` the run has. Both start with the same block.
    pub(super) fn matching_blocks(&self, chain: &[BlockHash]) -> usize {
        shared_prefix_len(&self.blocks[..self.len as usize], chain)
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
        let mut longest = 0;
        let mut extend = |holder: &Holder| {
            let new_end = at + holder.end.min(matching);
            if let Some(end) = ends.get_mut(holder.slot as usize) {
                *end = new_end;
                longest = longest.max(new_end);
            }
        };
        match &self.placed {
            Holders::Few(few) => few.iter().for_each(extend),
            Holders::Many { whole, partial } => {
                partial.iter().for_each(&mut extend);
                if extend_whole(whole, at + matching, ends) == Extended::Some {
                    longest = at + matching;
                }
            }
        }
        longest
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

impl Holders {
    fn many(placed: &[Holder], len: u32) -> Self {
        let slots = placed.last().map_or(0, |last| last.slot as usize + 1);
        let mut whole = vec![0_u64; slots.div_ceil(64)].into_boxed_slice();
        let (complete, partial): (Vec<Holder>, Vec<Holder>) =
            placed.iter().partition(|holder| holder.end >= len);
        for Holder { slot, .. } in complete {
            whole[slot as usize / 64] |= 1 << (slot % 64);
        }
        Self::Many { whole, partial: partial.into() }
    }
}

/// Whether any match was extended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extended {
    None,
    Some,
}

/// Sets the matches of all slots in the bit set `whole` to `new_end`.
fn extend_whole(whole: &[u64], new_end: u32, ends: &mut [u32]) -> Extended {
    let mut extended = Extended::None;
    for (word, ends) in whole.iter().zip(ends.chunks_mut(64)) {
        if *word == u64::MAX {
            ends.fill(new_end);
            extended = Extended::Some;
            continue;
        }
        let mut rest = *word;
        while rest != 0 {
            if let Some(end) = ends.get_mut(rest.trailing_zeros() as usize) {
                *end = new_end;
                extended = Extended::Some;
            }
            rest &= rest - 1;
        }
    }
    extended
}
