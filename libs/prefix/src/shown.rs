//! What readers see of a run: its blocks, and how much of them each endpoint holds.

use std::sync::Arc;

use signalbox_types::BlockHash;
use smallvec::SmallVec;

use crate::slots::Slot;
use crate::tier::{Extent, Tier};

/// Beyond so many holders, those of the whole run are bits of a set.
const FEW: usize = 8;

/// Consecutive blocks of one chain. Readers find it by its first block; chains that leave it anywhere go on in runs of their own.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    blocks: Arc<[BlockHash]>,
    /// How many of `blocks` are part of it.
    len: u32,
    placed: Placed,
    /// In order of slot, then of where they begin.
    confirmed: Option<Box<[Extent]>>,
}

/// An endpoint that was sent prompts which begin with the first `end` blocks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) slot: Slot,
    pub(crate) end: u32,
}

/// Who was sent how much of a run.
#[derive(Clone, Debug)]
enum Placed {
    Few(SmallVec<[Reach; 2]>),
    Many {
        /// One bit for each slot: those that were sent all of it.
        whole: Box<[u64]>,
        part: Box<[Reach]>,
    },
}

impl Shown {
    pub(crate) fn new(
        blocks: Arc<[BlockHash]>,
        len: u32,
        placed: impl Iterator<Item = Reach>,
        confirmed: &[Extent],
    ) -> Self {
        let placed: SmallVec<[Reach; 2]> = placed.collect();
        let placed = if placed.len() <= FEW { Placed::Few(placed) } else { Placed::many(&placed, len) };
        let confirmed = (!confirmed.is_empty()).then(|| confirmed.into());
        Self { blocks, len, placed, confirmed }
    }

    /// How many blocks of `chain`, whose first is this run's first, it has.
    pub(crate) fn matched(&self, chain: &[BlockHash]) -> usize {
        common(&self.blocks[..self.len as usize], chain)
    }

    /// What engines said.
    pub(crate) fn confirmed(&self) -> &[Extent] {
        self.confirmed.as_deref().unwrap_or_default()
    }

    /// Lets the endpoints' matches, which end at `at` or before, reach as far into the first `matched` blocks of this run, which
    /// begins at `at`, as the endpoints were sent them. Says how far the longest of them reaches.
    ///
    /// Whoever was sent a block was sent all before it, so where a match ended before does not matter.
    pub(crate) fn reach_placed(&self, at: u32, matched: u32, ends: &mut [u32]) -> u32 {
        let mut longest = 0;
        let mut reach = |reach: &Reach| {
            let end = at + reach.end.min(matched);
            if let Some(old) = ends.get_mut(reach.slot as usize) {
                *old = end;
                longest = longest.max(end);
            }
        };
        match &self.placed {
            Placed::Few(few) => few.iter().for_each(reach),
            Placed::Many { whole, part } => {
                part.iter().for_each(&mut reach);
                if reach_whole(whole, at + matched, ends) == Found::Some {
                    longest = at + matched;
                }
            }
        }
        longest
    }

    /// As [`Self::reach_placed`], by what engines said: a stretch counts where the match has come so far.
    pub(crate) fn reach_confirmed(&self, at: u32, matched: u32, ends: &mut [u32]) -> u32 {
        let mut longest = 0;
        for extent in self.confirmed() {
            let Some(end) = ends.get_mut(extent.slot as usize) else { continue };
            if at + extent.from <= *end {
                *end = (*end).max(at + extent.to.min(matched));
                longest = longest.max(*end);
            }
        }
        longest
    }

    /// How many of the first `upto` blocks `slot` has in each tier slower than the device, and in no faster one.
    pub(crate) fn slower_tiers(&self, slot: Slot, upto: u32) -> impl Iterator<Item = (Tier, u32)> {
        let from = self.confirmed().partition_point(|extent| extent.slot < slot);
        let own = &self.confirmed()[from..];
        let own = &own[..own.partition_point(|extent| extent.slot == slot)];
        [Tier::Host, Tier::Disk].into_iter().map(move |tier| (tier, Extent::counted(own, tier, upto)))
    }
}

impl Placed {
    fn many(placed: &[Reach], len: u32) -> Self {
        let slots = placed.last().map_or(0, |last| last.slot as usize + 1);
        let mut whole = vec![0_u64; slots.div_ceil(64)].into_boxed_slice();
        let (all, part): (Vec<Reach>, Vec<Reach>) = placed.iter().partition(|reach| reach.end >= len);
        for Reach { slot, .. } in all {
            whole[slot as usize / 64] |= 1 << (slot % 64);
        }
        Self::Many { whole, part: part.into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    None,
    Some,
}

/// Sets the ends of all slots in the set `whole`.
fn reach_whole(whole: &[u64], end: u32, ends: &mut [u32]) -> Found {
    let mut found = Found::None;
    for (word, ends) in whole.iter().zip(ends.chunks_mut(64)) {
        if *word == u64::MAX {
            ends.fill(end);
            found = Found::Some;
            continue;
        }
        let mut left = *word;
        while left != 0 {
            if let Some(old) = ends.get_mut(left.trailing_zeros() as usize) {
                *old = end;
                found = Found::Some;
            }
            left &= left - 1;
        }
    }
    found
}

/// Blocks that are compared one by one before any other: as many as come with the first from memory.
const NEAR: usize = 8;

/// How many leading blocks two pieces of chains that begin at the same place share. Equal hashes mean that all before them are equal
/// too, so one comparison finds that all are shared, and a search that begins at the front where they part. Chains part near the front
/// or not at all, mostly, and what is far from it is far away in memory, too.
pub(crate) fn common(run: &[BlockHash], chain: &[BlockHash]) -> usize {
    let len = run.len().min(chain.len());
    let near = len.min(NEAR);
    let shared = run[..near].iter().zip(&chain[..near]).take_while(|(a, b)| a == b).count();
    if shared < NEAR || len == NEAR {
        return shared;
    }
    if run[len - 1] == chain[len - 1] {
        return len;
    }
    let mut step = 2 * NEAR;
    while step < len && run[step - 1] == chain[step - 1] {
        step *= 2;
    }
    let (mut from, mut to) = (step / 2, step.min(len) - 1);
    while from < to {
        let middle = usize::midpoint(from, to);
        if run[middle] == chain[middle] {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_two_chains_part_is_found() {
        for len in 0..40_u64 {
            for shared in 0..=len {
                let run: Vec<_> = (0..len).map(BlockHash).collect();
                let chain: Vec<_> =
                    (0..len + 3).map(|at| BlockHash(at + 100 * u64::from(at >= shared))).collect();
                assert_eq!(shared as usize, common(&run, &chain));
                assert_eq!(shared as usize, common(&chain, &run));
            }
        }
    }
}
