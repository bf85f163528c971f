//! What engines say themselves: which blocks they keep, and in which tier. Unlike what was sent, it may have holes.

use std::sync::atomic::Ordering;

use signalbox_types::{BlockHash, EndpointKey};

use crate::held::sum_of_confirmed;
use crate::kept::At;
use crate::residents::{Misfit, Residents};
use crate::tier::{Extent, Tier};

/// Consecutive blocks of a chain: those of `chain` from `from` on, where `chain` follows `anchor`, which is as [`crate::anchor`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// The block that `chain` follows.
    pub anchor: BlockHash,
    /// The way from there to the last block meant.
    pub chain: &'a [BlockHash],
    /// How many blocks of `chain` only lead to those that are meant.
    pub from: usize,
}

impl Residents {
    /// The engine of `endpoint` keeps a stretch of blocks in `tier`. It says nothing about those before, nor about other tiers.
    ///
    /// # Errors
    /// [`Misfit`] when the anchor is not known, or the chain cannot follow it; then nothing has changed.
    pub fn confirm(&mut self, endpoint: EndpointKey, tier: Tier, stretch: Stretch<'_>) -> Result<(), Misfit> {
        if stretch.from >= stretch.chain.len() {
            return Ok(());
        }
        let anchor = self.forest.resolve(stretch.anchor)?;
        let last = self.forest.grow(anchor, stretch.chain)?;
        let slot = self.reserve(endpoint);
        self.note_confirmed(endpoint);
        for (run, from, to) in self.pieces(last, stretch.chain.len() - stretch.from) {
            let Some(kept) = self.forest.run_mut(run) else { continue };
            let new = Extent::add(&mut kept.confirmed, Extent { slot, from, to, tier });
            let sum = sum_over(endpoint, tier, kept.blocks(), &new);
            if let Some(held) = self.held.get_mut(&endpoint) {
                held.add(sum);
                held.confirmed.insert(run);
            }
        }
        // Blocks that only lead to those that are kept may be new too.
        for (run, _, _) in self.pieces(last, stretch.chain.len()) {
            self.forest.show(run);
        }
        Ok(())
    }

    /// The engine of `endpoint` does not keep a stretch of blocks in `tier` any more.
    ///
    /// # Errors
    /// [`Misfit`] when the blocks are not known.
    pub fn unconfirm(
        &mut self,
        endpoint: EndpointKey,
        tier: Tier,
        stretch: Stretch<'_>,
    ) -> Result<(), Misfit> {
        let (last, known) = self.forest.advance(self.forest.resolve(stretch.anchor)?, stretch.chain);
        if let Some(unknown) = stretch.chain.get(known) {
            return Err(Misfit::Block(*unknown));
        }
        let Some(slot) = self.held.get(&endpoint).map(|held| held.slot) else { return Ok(()) };
        let pieces = self.pieces(last, stretch.chain.len().saturating_sub(stretch.from));
        for (run, from, to) in pieces.into_iter().rev() {
            self.unconfirm_in(endpoint, run, Extent { slot, from, to, tier });
        }
        self.index().removals.fetch_add(1, Ordering::AcqRel);
        self.release_if_empty(endpoint);
        Ok(())
    }

    /// The engine of `endpoint` keeps nothing any more, as far as it said. What it was sent stays.
    pub fn unconfirm_all(&mut self, endpoint: EndpointKey) {
        let Some(held) = self.held.get_mut(&endpoint).filter(|held| !held.confirmed.is_empty()) else {
            return;
        };
        let (slot, runs) = (held.slot, std::mem::take(&mut held.confirmed));
        for run in runs {
            for tier in Tier::ALL {
                self.unconfirm_in(endpoint, run, Extent { slot, from: 0, to: u32::MAX, tier });
            }
        }
        self.index().removals.fetch_add(1, Ordering::AcqRel);
        self.release_if_empty(endpoint);
    }

    fn unconfirm_in(&mut self, endpoint: EndpointKey, run: u32, gone: Extent) {
        let Some(kept) = self.forest.run_mut(run) else { return };
        let taken = Extent::remove(&mut kept.confirmed, gone);
        let sum = sum_over(endpoint, gone.tier, kept.blocks(), &taken);
        let is_last = !kept.confirmed.iter().any(|extent| extent.slot == gone.slot);
        if let Some(held) = self.held.get_mut(&endpoint) {
            held.subtract(sum);
            if is_last {
                held.confirmed.remove(&run);
            }
        }
        self.forest.trim(run);
    }

    /// The last `blocks` blocks up to `last` as parts of runs, the first of the chain first.
    fn pieces(&self, last: Option<At>, blocks: usize) -> Vec<(u32, u32, u32)> {
        let (mut pieces, mut next, mut left) = (Vec::new(), last, blocks as u32);
        while let Some(At { run, offset }) = next.filter(|_| left > 0) {
            let to = offset + 1;
            let from = to.saturating_sub(left);
            pieces.push((run, from, to));
            left -= to - from;
            next = self.forest.run(run).and_then(|kept| kept.parent);
        }
        pieces.reverse();
        pieces
    }

    /// What was evicted while the engine said nothing is no part of a match that ends with what it says from now on.
    fn note_confirmed(&mut self, endpoint: EndpointKey) {
        if let Some(held) = self.held.get_mut(&endpoint).filter(|held| !held.was_confirmed) {
            held.was_confirmed = true;
            self.index().removals.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn sum_over(endpoint: EndpointKey, tier: Tier, blocks: &[BlockHash], parts: &[(u32, u32)]) -> u64 {
    let blocks = parts.iter().flat_map(|(from, to)| &blocks[*from as usize..*to as usize]);
    blocks.fold(0, |sum, block| sum.wrapping_add(sum_of_confirmed(endpoint, *block, tier)))
}
