//! Looks up which endpoints hold how much of a chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use signalbox_types::BlockHash;

use super::match_lengths::{Lookup, MatchLengths};
use super::published_run::PublishedRun;
use crate::endpoint_slots::EndpointSlots;
use crate::identity_hasher::BuildIdentityHasher;

/// Attempts when concurrent removals invalidate the walk; after the last one the lookup reports no match.
const ATTEMPTS: usize = 8;

/// Which endpoints hold which blocks of which prompts. Written by one [`crate::IndexWriter`]; read by any
/// number of tasks without waiting.
///
/// A concurrent reader may see a change half applied. It then sees a match that is too short, never one that
/// is longer than the endpoint's match was at some moment during the lookup.
#[derive(Debug, Default)]
pub struct Index {
    /// Runs by their first blocks.
    pub(crate) runs: papaya::HashMap<BlockHash, PublishedRun, BuildIdentityHasher>,
    slots: ArcSwap<EndpointSlots>,
    /// Address of `slots` in memory: a reader that already has them need not load them.
    slots_address: AtomicUsize,
    /// Number of distinct blocks in all runs.
    pub(crate) blocks: AtomicUsize,
    /// Grows when blocks may have been removed from the middle of a chain, or a slot from its endpoint.
    pub(crate) removals: AtomicU64,
}

impl Index {
    /// Returns how much of `chain` each endpoint holds.
    ///
    /// Costs one map lookup for each run that the chain enters, one comparison for each that it covers
    /// completely, and one step for each holder of these runs (64 holders per step where there are many).
    /// Stops where no endpoint's match continues.
    pub fn lookup(&self, chain: &[BlockHash]) -> Lookup {
        let mut lengths = MatchLengths::default();
        self.lookup_into(chain, &mut lengths);
        lengths.to_lookup()
    }

    /// Does the same as [`Self::lookup`] with a buffer that can be reused. Allocates only if the buffer is
    /// too small.
    pub fn lookup_into(&self, chain: &[BlockHash], lengths: &mut MatchLengths) {
        for _ in 0..ATTEMPTS {
            let removals = self.removals.load(Ordering::Acquire);
            if address(&lengths.slots) != self.slots_address.load(Ordering::Acquire) {
                lengths.slots = self.slots.load_full();
            }
            lengths.reset();
            self.walk(chain, lengths);
            if self.removals.load(Ordering::Acquire) == removals {
                return;
            }
        }
        lengths.reset();
    }

    /// Returns the number of distinct blocks that endpoints hold, including those that only lead to held
    /// blocks.
    pub fn len(&self) -> usize {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Returns whether no endpoint holds a block.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the endpoint of each slot in a [`MatchLengths`].
    pub fn slots(&self) -> Arc<EndpointSlots> {
        self.slots.load_full()
    }

    pub(crate) fn set_slots(&self, slots: EndpointSlots) {
        let slots = Arc::new(slots);
        let address = address(&slots);
        self.slots.store(slots);
        self.slots_address.store(address, Ordering::Release);
    }

    fn walk(&self, chain: &[BlockHash], lengths: &mut MatchLengths) {
        let runs = self.runs.pin();
        let mut at = 0;
        while let Some(run) = chain.get(at).and_then(|first| runs.get(first)) {
            let matching = run.matching_blocks(&chain[at..]);
            let (from, len) = (at as u32, matching as u32);
            let mut longest = run.extend_placed(from, len, &mut lengths.blocks);
            if !run.confirmed().is_empty() {
                longest = longest.max(run.extend_confirmed(from, len, &mut lengths.blocks));
                add_off_device(run, from, lengths);
            }
            lengths.longest = lengths.longest.max(longest);
            at += matching;
            if longest < at as u32 {
                break;
            }
        }
    }
}

fn address(slots: &Arc<EndpointSlots>) -> usize {
    Arc::as_ptr(slots) as usize
}

/// Counts the matching blocks of `run`, which starts at `at`, that are not on the device.
fn add_off_device(run: &PublishedRun, at: u32, lengths: &mut MatchLengths) {
    let mut previous = None;
    for extent in run.confirmed() {
        if previous.replace(extent.slot) == Some(extent.slot) {
            continue;
        }
        let end = lengths.blocks.get(extent.slot as usize).copied().unwrap_or(0);
        for (residency, blocks) in run.off_device_blocks(extent.slot, end.saturating_sub(at)) {
            if blocks > 0 {
                lengths.add_off_device(extent.slot, residency, blocks);
            }
        }
    }
}
