//! Placements: which prompts endpoints were sent, and eviction in the order of use.

use std::sync::atomic::Ordering;

use signalbox_types::{BlockHash, EndpointKey};

use super::IndexWriter;
use super::digest::use_digest;
use super::endpoint_blocks::{EndpointBlocks, PromptTail};
use super::error::IndexError;
use super::eviction_order::EvictionOrder;
use super::run_store::{Lost, RunStore};
use super::stored_run::{BlockRef, BlockUse};

impl IndexWriter {
    /// Returns how many leading blocks of `suffix`, which follows `anchor`, are known: some endpoint holds
    /// them, or holds blocks after them.
    ///
    /// # Errors
    /// [`IndexError`] if `anchor` is unknown, or the blocks after the known ones cannot follow them.
    /// [`Self::place`] fails for the same reasons.
    pub fn known_blocks(&self, anchor: BlockHash, suffix: &[BlockHash]) -> Result<usize, IndexError> {
        let (at, known) = self.store.follow(self.store.find_anchor(anchor)?, suffix);
        self.store.check_new_blocks(at, &suffix[known..])?;
        Ok(known)
    }

    /// Records that `endpoint` was sent, at `used`, the prompt that ends with `suffix` and therefore holds
    /// all its blocks. The suffix follows `anchor`: [`BlockHash::ROOT`] if it is the whole prompt, else a
    /// block that [`crate::anchor()`] returned. `used` must grow with every call for the endpoint.
    ///
    /// Costs one step for each run of the prompt, and one for each block that no endpoint held.
    ///
    /// # Errors
    /// [`IndexError`] if `anchor` is unknown, `suffix` cannot follow it, or `used` is not later than the
    /// previous use. The index is then unchanged.
    pub fn place(
        &mut self,
        endpoint: EndpointKey,
        anchor: BlockHash,
        suffix: &[BlockHash],
        used: u64,
    ) -> Result<(), IndexError> {
        let latest = self.endpoints.get(&endpoint).and_then(|held| held.tails.last_key_value());
        if latest.is_some_and(|(latest, _)| *latest >= used) {
            return Err(IndexError::Use(used));
        }
        let is_first = latest.is_none();
        let anchor = self.store.find_anchor(anchor)?;
        let Some(last) = self.store.extend_chain(anchor, suffix)? else { return Ok(()) };
        self.ensure_slot(endpoint);
        self.store.path(Some(last), &mut self.path);
        let Some(held) = self.endpoints.get_mut(&endpoint) else { return Ok(()) };
        let (mut blocks, digest_before) = (0, held.digest);
        for (run, end) in self.path.drain(..) {
            blocks += end;
            let new = BlockUse { used, slot: held.slot, end };
            record_use(&mut self.store, (endpoint, held), run, new);
        }
        held.tails.insert(used, PromptTail { last, blocks });
        held.add_digest(self.store.block(last).map_or(0, |block| use_digest(endpoint, block, used)));
        self.total_digest = self.total_digest.wrapping_add(held.digest.wrapping_sub(digest_before));
        if is_first {
            self.add_to_eviction_order(used, endpoint);
        }
        Ok(())
    }

    /// Adds an endpoint that was sent its first prompt at `used` to the order of eviction.
    fn add_to_eviction_order(&mut self, used: u64, endpoint: EndpointKey) {
        if self.eviction_order.is_outdated(self.endpoints.len()) {
            self.eviction_order = EvictionOrder::new(&self.endpoints);
        } else {
            self.eviction_order.add(used, endpoint);
        }
    }

    /// Removes from `endpoint` the last `blocks` blocks of its least recent use, which must be at `used`.
    ///
    /// # Errors
    /// [`IndexError`] if the endpoint has an earlier use, or used fewer blocks then. Also if the index is
    /// inconsistent; then some of the blocks may have been removed.
    pub fn evict(&mut self, endpoint: EndpointKey, used: u64, blocks: u32) -> Result<(), IndexError> {
        let held = self.endpoints.get_mut(&endpoint).ok_or(IndexError::Use(used))?;
        let mut oldest =
            held.tails.first_entry().filter(|tail| *tail.key() == used).ok_or(IndexError::Use(used))?;
        let PromptTail { last, blocks: present } = *oldest.get();
        let rest = present.checked_sub(blocks).ok_or(IndexError::Use(used))?;
        oldest.get_mut().blocks = rest;
        let digest =
            |store: &RunStore, at| store.block(at).map_or(0, |block| use_digest(endpoint, block, used));
        let digest_before = held.digest;
        held.subtract_digest(digest(&self.store, last));
        held.placed -= blocks as usize;
        let slot = held.slot;
        let previous = evict_tail(&mut self.store, last, BlockUse { used, slot, end: 0 }, blocks)?;
        let Some(held) = self.endpoints.get_mut(&endpoint) else { return Ok(()) };
        match previous.filter(|_| rest > 0) {
            Some(last) => {
                held.tails.insert(used, PromptTail { last, blocks: rest });
                held.add_digest(digest(&self.store, last));
            }
            None => {
                held.tails.remove(&used);
            }
        }
        self.total_digest = self.total_digest.wrapping_add(held.digest.wrapping_sub(digest_before));
        let (was_confirmed, is_empty) = (held.was_confirmed, held.is_empty());
        if was_confirmed {
            self.index().removals.fetch_add(1, Ordering::AcqRel);
        }
        if is_empty {
            self.release_if_empty(endpoint);
        }
        Ok(())
    }

    /// Returns the time of the least recent use of `endpoint`, and how many blocks, at most `limit`, were not
    /// used since: the arguments for [`Self::evict`] to make room.
    pub fn least_recently_used(&self, endpoint: EndpointKey, limit: usize) -> Option<(u64, u32)> {
        let (used, tail) = self.endpoints.get(&endpoint)?.tails.first_key_value()?;
        Some((*used, tail.blocks.min(u32::try_from(limit).unwrap_or(u32::MAX))))
    }

    /// Returns the endpoint that holds the least recently used of all placed blocks.
    pub fn least_recently_used_endpoint(&mut self) -> Option<EndpointKey> {
        self.eviction_order.first(&self.endpoints)
    }

    /// Removes all blocks of `endpoint`. The cost is proportional to their number.
    pub fn remove_endpoint(&mut self, endpoint: EndpointKey) {
        self.unconfirm_all(endpoint);
        let tails = self.endpoints.get(&endpoint).map_or(0, |held| held.tails.len());
        for _ in 0..tails {
            let Some((used, blocks)) = self.least_recently_used(endpoint, usize::MAX) else { break };
            if self.evict(endpoint, used, blocks).is_err() {
                break;
            }
        }
    }
}

/// Records that an endpoint used the first blocks of a run, and publishes the run if any of them are new to
/// the endpoint.
fn record_use(
    store: &mut RunStore,
    (endpoint, held): (EndpointKey, &mut EndpointBlocks),
    run: u32,
    new: BlockUse,
) {
    let Some(stored) = store.run_mut(run) else { return };
    let uses_before = stored.uses.len();
    let mut replaced: smallvec::SmallVec<[(u64, BlockRef); 2]> = smallvec::smallvec![];
    let new_blocks = stored.record_use(new, |used, blocks| {
        replaced.extend(held.shrink_tail(used, blocks).map(|last| (used, last)))
    });
    let uses = stored.uses.len() as isize - uses_before as isize;
    held.placed += new_blocks as usize;
    store.uses = store.uses.wrapping_add_signed(uses);
    for (used, last) in replaced {
        held.subtract_digest(store.block(last).map_or(0, |block| use_digest(endpoint, block, used)));
    }
    if new_blocks > 0 {
        store.publish_holder(run, new.slot);
    }
}

/// Removes `blocks` blocks of one use, from `last` towards the root. Returns the block before them.
fn evict_tail(
    store: &mut RunStore,
    last: BlockRef,
    of: BlockUse,
    blocks: u32,
) -> Result<Option<BlockRef>, IndexError> {
    let (mut next, mut remaining) = (Some(last), blocks);
    while let Some(BlockRef { run, offset }) = next.filter(|_| remaining > 0) {
        let stored = store.run_mut(run).ok_or(IndexError::Use(of.used))?;
        let uses = stored.uses.len();
        let taken = stored
            .evict_tail(BlockUse { end: offset + 1, ..of }, remaining)
            .ok_or(IndexError::Use(of.used))?;
        let removed_uses = uses - stored.uses.len();
        next = if taken <= offset { Some(BlockRef { run, offset: offset - taken }) } else { stored.parent };
        remaining -= taken;
        store.uses -= removed_uses;
        store.trim(run, Lost::Placed(of.slot));
    }
    if remaining == 0 { Ok(next) } else { Err(IndexError::Use(of.used)) }
}
