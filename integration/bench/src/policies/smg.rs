//! The cache-aware policy of SMG (Shepherd Model Gateway) as its documentation describes it
//! (`docs/concepts/routing/cache-aware.md`): a tree of the texts that this replica sent to each worker, and two
//! thresholds on the number of requests.
//!
//! The tree compares texts by the block of 256 bytes instead of the character. The least loaded worker is the one
//! with the fewest requests of this replica. (Newer versions estimate a wait from waiting tokens and a rate, of
//! which vLLM's metrics page has neither, and poll every 10 s.)

use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use super::chooser::{Arriving, Choice, Chooser};
use super::held_blocks::HeldBlocks;
use super::simple::{least, load};

/// Characters in the tree, over all workers.
const MAX_TREE_BYTES: usize = 67_108_864;

/// Settings of the policy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Share of a prompt that a worker must have been sent before.
    cache_threshold: f64,
    /// Requests that the busiest worker must have more than the least busy one for load to decide.
    balance_abs_threshold: u32,
    /// How many times the requests of the least busy worker the busiest must have as well.
    balance_rel_threshold: f64,
}

impl Settings {
    /// The best settings for prompts as in the scenes, found with the seeds for tuning.
    pub(super) const TUNED: Self =
        Self { cache_threshold: 0.1, balance_abs_threshold: 8, balance_rel_threshold: 1.5 };
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache_threshold: 0.3, balance_abs_threshold: 64, balance_rel_threshold: 1.5 }
    }
}

/// A replica of SMG.
pub(super) struct Smg {
    settings: Settings,
    tree: HeldBlocks,
}

impl Smg {
    /// Creates a replica with a tree for blocks of `block_bytes` bytes. Each worker has the same part of its
    /// size, where SMG evicts over all of them.
    pub(super) fn new(settings: Settings, workers: usize, block_bytes: u32) -> Self {
        let capacity = MAX_TREE_BYTES / block_bytes as usize / workers.max(1);
        Self { settings, tree: HeldBlocks::new(std::iter::repeat_n(capacity, workers)) }
    }
}

impl Chooser for Smg {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        let workers = arriving.inputs.view.endpoints.len();
        let requests = |at| load(arriving, at).requests;
        let chain = &arriving.prompt.chain;
        let (matched, holders) = self.longest_match(arriving);
        let share = matched as f64 / chain.len().max(1) as f64;
        let is_affine = matched > 0
            && share > self.settings.cache_threshold
            && !self.settings.is_imbalanced((0..workers).map(requests));
        let held = |at: &usize| holders >> at & 1 == 1;
        let position = match is_affine {
            true => least((0..workers).filter(held), rng, requests),
            false => least(0..workers, rng, requests),
        };
        self.tree.add(position, chain.iter().copied());
        let blocks = if held(&position) { matched } else { 0 };
        let cached_tokens =
            arriving.inputs.request.tokens_in_blocks(blocks, arriving.inputs.view.format.block_bytes);
        Choice { position, cached_tokens: Some(cached_tokens) }
    }
}

impl Smg {
    /// Returns the length of the longest prefix that any worker was sent, in blocks, and those workers.
    fn longest_match(&self, arriving: &Arriving<'_>) -> (usize, u128) {
        let mut holders = u128::MAX;
        for (at, block) in arriving.prompt.chain.iter().enumerate() {
            let next = holders & self.tree.holders(*block);
            if next == 0 {
                return (at, holders);
            }
            holders = next;
        }
        (arriving.prompt.chain.len(), holders)
    }
}

impl Settings {
    fn is_imbalanced(&self, requests: impl Iterator<Item = u32> + Clone) -> bool {
        let (most, least) = (requests.clone().max().unwrap_or(0), requests.min().unwrap_or(0));
        most - least > self.balance_abs_threshold
            && f64::from(most) > self.balance_rel_threshold * f64::from(least)
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn load_decides_only_above_both_thresholds() {
        let of = |most, least| Settings::default().is_imbalanced([least, most, least].into_iter());
        assert_eq!([true, false, false, true], [of(65, 0), of(64, 0), of(195, 130), of(196, 130)]);
    }
}
