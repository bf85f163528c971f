//! What readers see: which endpoints hold how much of a chain.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use signalbox_types::BlockHash;

use crate::column::{Column, Lookup};
use crate::shown::Shown;
use crate::slots::Slots;

/// So often a look-up begins anew because blocks went while it ran; then it finds nothing.
const ATTEMPTS: usize = 8;

/// Block hashes are uniform already; hashing them again would only cost time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsIs(u64);

pub(crate) type BuildAsIs = BuildHasherDefault<AsIs>;

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Which endpoints hold which blocks of which prompts. Written by one [`crate::Residents`], read by any number of tasks without
/// waiting.
///
/// A reader that runs while the writer writes may see a change half done. It then sees a match that is too short, never one that is
/// longer than the endpoint's was at some moment of the look-up.
#[derive(Debug, Default)]
pub struct Index {
    /// By their first blocks.
    pub(crate) runs: papaya::HashMap<BlockHash, Shown, BuildAsIs>,
    slots: ArcSwap<Slots>,
    /// Where `slots` are in memory: who has them already need not load them.
    slots_address: AtomicUsize,
    /// Distinct blocks in all runs.
    pub(crate) blocks: AtomicUsize,
    /// Grows when blocks may have gone from the middle of a chain, or a slot from its endpoint.
    pub(crate) removals: AtomicU64,
}

impl Index {
    /// Who holds how much of `chain`.
    ///
    /// Costs one look-up for each run that the chain passes through, one comparison for each that it passes whole, and a step for
    /// each holder of these runs (64 at a time where they are many). Ends where nobody holds on.
    pub fn lookup(&self, chain: &[BlockHash]) -> Lookup {
        let mut column = Column::default();
        self.lookup_into(chain, &mut column);
        column.to_lookup()
    }

    /// As [`Self::lookup`], into a column that may have been used before. Allocates only where the column is too small.
    pub fn lookup_into(&self, chain: &[BlockHash], column: &mut Column) {
        for _ in 0..ATTEMPTS {
            let removals = self.removals.load(Ordering::Acquire);
            if address(&column.slots) != self.slots_address.load(Ordering::Acquire) {
                column.slots = self.slots.load_full();
            }
            column.reset();
            self.walk(chain, column);
            if self.removals.load(Ordering::Acquire) == removals {
                return;
            }
        }
        column.reset();
    }

    /// Number of distinct blocks held by anyone, those that only lead to such blocks included.
    pub fn len(&self) -> usize {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which endpoint each number in a [`Column`] stands for.
    pub fn slots(&self) -> Arc<Slots> {
        self.slots.load_full()
    }

    pub(crate) fn set_slots(&self, slots: Slots) {
        let slots = Arc::new(slots);
        let address = address(&slots);
        self.slots.store(slots);
        self.slots_address.store(address, Ordering::Release);
    }

    fn walk(&self, chain: &[BlockHash], column: &mut Column) {
        let runs = self.runs.pin();
        let mut at = 0;
        while let Some(run) = chain.get(at).and_then(|first| runs.get(first)) {
            let matched = run.matched(&chain[at..]);
            let (from, len) = (at as u32, matched as u32);
            let mut longest = run.reach_placed(from, len, &mut column.blocks);
            if !run.confirmed().is_empty() {
                longest = longest.max(run.reach_confirmed(from, len, &mut column.blocks));
                count_slower(run, from, column);
            }
            column.known = column.known.max(longest);
            at += matched;
            if longest < at as u32 {
                break;
            }
        }
    }
}

fn address(slots: &Arc<Slots>) -> usize {
    Arc::as_ptr(slots) as usize
}

/// Counts what of the matches lies in `run`, which begins at `at`, and in a slower tier.
fn count_slower(run: &Shown, at: u32, column: &mut Column) {
    let mut before = None;
    for extent in run.confirmed() {
        if before.replace(extent.slot) == Some(extent.slot) {
            continue;
        }
        let end = column.blocks.get(extent.slot as usize).copied().unwrap_or(0);
        for (tier, blocks) in run.slower_tiers(extent.slot, end.saturating_sub(at)) {
            if blocks > 0 {
                column.count_slower(extent.slot, tier, blocks);
            }
        }
    }
}
