//! Confirmations: the blocks that engines report themselves, and where they keep them. Unlike placements,
//! they can have gaps.

use std::sync::atomic::Ordering;

use signalbox_types::{BlockHash, EndpointKey};

use super::IndexWriter;
use super::digest::confirmed_digest;
use super::error::IndexError;
use super::run_store::Lost;
use super::stored_run::BlockRef;
use crate::extent::Extent;
use crate::residency::Residency;

/// Consecutive blocks of a chain: the blocks of `chain` from `from` on. `chain` follows `anchor`, a block
/// that [`crate::anchor()`] returned.
#[derive(Clone, Copy, Debug)]
pub struct ChainRange<'a> {
    /// Block that `chain` follows.
    pub anchor: BlockHash,
    /// Blocks from the anchor to the end of the range.
    pub chain: &'a [BlockHash],
    /// Number of leading blocks of `chain` that are not part of the range.
    pub from: usize,
}

impl IndexWriter {
    /// Records that the engine of `endpoint` keeps a range of blocks at `residency`. This does not affect the
    /// blocks before the range, nor other residencies.
    ///
    /// # Errors
    /// [`IndexError`] if the anchor is unknown, or the chain cannot follow it. The index is then unchanged.
    pub fn confirm(
        &mut self,
        endpoint: EndpointKey,
        residency: Residency,
        range: ChainRange<'_>,
    ) -> Result<(), IndexError> {
        if range.from >= range.chain.len() {
            return Ok(());
        }
        let anchor = self.store.find_anchor(range.anchor)?;
        let last = self.store.extend_chain(anchor, range.chain)?;
        let slot = self.ensure_slot(endpoint);
        self.mark_confirmed(endpoint);
        for (run, from, to) in self.run_parts(last, range.chain.len() - range.from) {
            let Some(stored) = self.store.run_mut(run) else { continue };
            let new = Extent::add(&mut stored.confirmed, Extent { slot, from, to, residency });
            let digest = digest_of_parts(endpoint, residency, stored.blocks(), &new);
            if let Some(held) = self.endpoints.get_mut(&endpoint) {
                held.add_digest(digest);
                self.total_digest = self.total_digest.wrapping_add(digest);
                held.confirmed_runs.insert(run);
            }
        }
        // Blocks before the range may be new too.
        for (run, _, _) in self.run_parts(last, range.chain.len()) {
            self.store.publish(run);
        }
        Ok(())
    }

    /// Records that the engine of `endpoint` no longer keeps a range of blocks at `residency`.
    ///
    /// # Errors
    /// [`IndexError`] if the blocks are unknown.
    pub fn unconfirm(
        &mut self,
        endpoint: EndpointKey,
        residency: Residency,
        range: ChainRange<'_>,
    ) -> Result<(), IndexError> {
        let (last, known) = self.store.follow(self.store.find_anchor(range.anchor)?, range.chain);
        if let Some(unknown) = range.chain.get(known) {
            return Err(IndexError::Block(*unknown));
        }
        let Some(slot) = self.endpoints.get(&endpoint).map(|held| held.slot) else { return Ok(()) };
        let parts = self.run_parts(last, range.chain.len().saturating_sub(range.from));
        for (run, from, to) in parts.into_iter().rev() {
            self.unconfirm_run(endpoint, run, Extent { slot, from, to, residency });
        }
        self.index().removals.fetch_add(1, Ordering::AcqRel);
        self.release_if_empty(endpoint);
        Ok(())
    }

    /// Removes all blocks that the engine of `endpoint` reported. Placed blocks stay.
    pub fn unconfirm_all(&mut self, endpoint: EndpointKey) {
        let Some(held) = self.endpoints.get_mut(&endpoint).filter(|held| !held.confirmed_runs.is_empty())
        else {
            return;
        };
        let (slot, runs) = (held.slot, std::mem::take(&mut held.confirmed_runs));
        for run in runs {
            for residency in Residency::ALL {
                self.unconfirm_run(endpoint, run, Extent { slot, from: 0, to: u32::MAX, residency });
            }
        }
        self.index().removals.fetch_add(1, Ordering::AcqRel);
        self.release_if_empty(endpoint);
    }

    fn unconfirm_run(&mut self, endpoint: EndpointKey, run: u32, removed: Extent) {
        let Some(stored) = self.store.run_mut(run) else { return };
        let taken = Extent::remove(&mut stored.confirmed, removed);
        let digest = digest_of_parts(endpoint, removed.residency, stored.blocks(), &taken);
        let is_last = !stored.confirmed.iter().any(|extent| extent.slot == removed.slot);
        if let Some(held) = self.endpoints.get_mut(&endpoint) {
            held.subtract_digest(digest);
            self.total_digest = self.total_digest.wrapping_sub(digest);
            if is_last {
                held.confirmed_runs.remove(&run);
            }
        }
        self.store.trim(run, Lost::Any);
    }

    /// Returns the last `blocks` blocks up to `last` as parts of runs (run, from, to), in the order of the
    /// chain.
    fn run_parts(&self, last: Option<BlockRef>, blocks: usize) -> Vec<(u32, u32, u32)> {
        let (mut parts, mut next, mut remaining) = (Vec::new(), last, blocks as u32);
        while let Some(BlockRef { run, offset }) = next.filter(|_| remaining > 0) {
            let to = offset + 1;
            let from = to.saturating_sub(remaining);
            parts.push((run, from, to));
            remaining -= to - from;
            next = self.store.run(run).and_then(|stored| stored.parent);
        }
        parts.reverse();
        parts
    }

    /// Records that the engine of `endpoint` reports blocks, and counts a removal: a concurrent lookup must
    /// not join blocks that were evicted before with blocks that the engine reports from now on.
    fn mark_confirmed(&mut self, endpoint: EndpointKey) {
        if let Some(held) = self.endpoints.get_mut(&endpoint).filter(|held| !held.was_confirmed) {
            held.was_confirmed = true;
            self.index().removals.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn digest_of_parts(
    endpoint: EndpointKey,
    residency: Residency,
    blocks: &[BlockHash],
    parts: &[(u32, u32)],
) -> u64 {
    let blocks = parts.iter().flat_map(|(from, to)| &blocks[*from as usize..*to as usize]);
    blocks.fold(0, |sum, block| sum.wrapping_add(confirmed_digest(endpoint, *block, residency)))
}
