//! Compares the blocks that endpoints are believed to hold with the cached tokens that their engines report.

use std::collections::{BTreeSet, VecDeque};

use signalbox_prefix::{EndpointMap, LastUse};
use signalbox_types::{BlockHash, EndpointKey, Incarnation};
use smallvec::SmallVec;

use crate::pool_state::{CacheAccuracy, EndpointState, PoolState, is_restart};
use crate::reports::UsageReport;

/// The maximum number of placements per endpoint whose usage is awaited.
const MAX_PLACEMENTS: usize = 256;

/// The number of blocks by which a report may differ from the belief. Templates and other tokenizers shift prompts
/// by some tokens.
const TOLERANCE_BLOCKS: u32 = 4;

/// After this time a prompt counts as processed, in milliseconds, even if its endpoint was never idle since.
const SETTLED_AFTER_MS: u64 = 10_000;

/// How often the number of the latest change is remembered, in milliseconds.
const HISTORY_STEP_MS: u64 = 1_000;

/// The weight of one report in the mean error.
const ERROR_WEIGHT: f64 = 1.0 / 16.0;

/// The change of the mean error that is published: this many tokens, or an eighth of the published one.
const SIGNIFICANT_TOKENS: u32 = 64;

/// The minimum share of the KV cache capacity that counts as room for cached blocks, in percent.
const MIN_CAPACITY_PERCENT: u8 = 12;

/// How often the capacity can grow back, in milliseconds.
const GROWTH_INTERVAL_MS: u64 = 10_000;

/// What the owner knows of how the endpoints' caches differ from its belief.
#[derive(Debug, Default)]
pub(crate) struct CacheBeliefs {
    endpoints: EndpointMap<CacheBelief>,
    /// The time in milliseconds and the number of the latest change at that time, once per second.
    history: VecDeque<(u64, u64)>,
    /// The endpoints with blocks that are gone and still to be evicted.
    evicting: BTreeSet<EndpointKey>,
}

/// What the owner knows of one endpoint's cache.
#[derive(Debug)]
pub(crate) struct CacheBelief {
    incarnation: Incarnation,
    placements: VecDeque<AwaitedPlacement>,
    /// The number of the latest change when the endpoint had no prompt to process.
    idle_seq: u64,
    /// The engine no longer holds what was last used by this change or an earlier one.
    gone_seq: u64,
    mean_error_tokens: Option<f64>,
    capacity_percent: u8,
    grown_at_ms: u64,
}

/// A placement whose usage was not reported yet.
#[derive(Debug)]
struct AwaitedPlacement {
    last_block: BlockHash,
    /// When the endpoint used the prompt's blocks before.
    uses: SmallVec<[LastUse; 2]>,
    /// Prompts placed up to this change were processed when this one was placed.
    settled_seq: u64,
}

impl CacheBelief {
    fn new(incarnation: Incarnation, capacity_percent: u8) -> Self {
        Self {
            incarnation,
            placements: VecDeque::new(),
            idle_seq: 0,
            gone_seq: 0,
            mean_error_tokens: None,
            capacity_percent,
            grown_at_ms: 0,
        }
    }

    /// Compares a report with the belief. Returns whether blocks are to be evicted.
    ///
    /// An engine that held less than half of what was believed has evicted the first missing block. Engines evict
    /// what was unused for the longest time, so everything that was last used no later is gone too. A missing block
    /// whose prompt may still have been in processing was never there and proves nothing.
    fn compare(&mut self, now_ms: u64, usage: &UsageReport) -> bool {
        if let Some(cached_tokens) = usage.cached_tokens {
            let error = usage.predicted_cached_tokens as f64 - cached_tokens as f64;
            let mean = self.mean_error_tokens.get_or_insert(error);
            *mean += (error - *mean) * ERROR_WEIGHT;
        }
        let (Some(cached), held) = (usage.cached_blocks, usage.held_blocks) else { return false };
        if cached > held.saturating_add(TOLERANCE_BLOCKS) {
            self.grow(now_ms, 5);
        } else if held > TOLERANCE_BLOCKS && cached >= held - held / 4 {
            self.grow(now_ms, 1);
        }
        if cached >= held.div_ceil(2) || held - cached <= TOLERANCE_BLOCKS {
            return false;
        }
        let placement =
            self.placements.iter().rev().find(|placement| placement.last_block == usage.last_block);
        let Some(AwaitedPlacement { uses, settled_seq, .. }) = placement else { return false };
        let missing = uses.iter().find(|each| each.end > cached).map_or(0, |each| each.used);
        if missing > *settled_seq || missing <= self.gone_seq {
            return false;
        }
        self.gone_seq = missing;
        true
    }

    fn grow(&mut self, now_ms: u64, percent: u8) {
        if now_ms.saturating_sub(self.grown_at_ms) >= GROWTH_INTERVAL_MS {
            self.grown_at_ms = now_ms;
            self.capacity_percent = self.capacity_percent.saturating_add(percent).min(100);
        }
    }

    /// Reduces the capacity after the blocks that were gone were evicted: to what remained, but by at most a
    /// quarter, because other reasons than a lack of room may have emptied the cache.
    fn shrink(&mut self, now_ms: u64, remaining_percent: u64) {
        let least = (self.capacity_percent - self.capacity_percent / 4).max(MIN_CAPACITY_PERCENT);
        let remaining = u8::try_from(remaining_percent).unwrap_or(100);
        self.capacity_percent = remaining.max(least).min(self.capacity_percent);
        self.grown_at_ms = now_ms;
    }

    fn accuracy(&self) -> CacheAccuracy {
        let mean_error_tokens = self.mean_error_tokens.map(|tokens| tokens.round() as i32);
        CacheAccuracy { mean_error_tokens, capacity_percent: self.capacity_percent }
    }
}

impl CacheBeliefs {
    /// Restores what an earlier owner published.
    pub(crate) fn from_pool_state(pool_state: &PoolState) -> Self {
        let learned =
            pool_state.endpoints().filter(|endpoint_state| !endpoint_state.cache_accuracy.is_default());
        let restored = learned.map(|endpoint_state| {
            let CacheAccuracy { mean_error_tokens, capacity_percent } = endpoint_state.cache_accuracy;
            let mut belief = CacheBelief::new(endpoint_state.observed.incarnation, capacity_percent);
            belief.mean_error_tokens = mean_error_tokens.map(f64::from);
            (endpoint_state.key, belief)
        });
        Self { endpoints: restored.collect(), ..Self::default() }
    }

    /// Returns the share of the endpoint's KV cache capacity that counts as room for cached blocks, in percent.
    pub(crate) fn capacity_percent(&self, endpoint: EndpointKey) -> u8 {
        self.endpoints.get(&endpoint).map_or(100, |belief| belief.capacity_percent)
    }

    /// Returns what is known of `endpoint` in `incarnation`; nothing after a restart.
    fn belief(&mut self, endpoint: EndpointKey, incarnation: Incarnation) -> &mut CacheBelief {
        let belief = self.endpoints.entry(endpoint).or_insert_with(|| CacheBelief::new(incarnation, 100));
        if is_restart(belief.incarnation, incarnation) {
            *belief = CacheBelief::new(incarnation, 100);
            self.evicting.remove(&endpoint);
        }
        belief.incarnation = incarnation;
        belief
    }

    /// Records that a prompt was placed of which the endpoint held blocks that it used at `uses`.
    pub(crate) fn record_placement(
        &mut self,
        now_ms: u64,
        (endpoint, incarnation): (EndpointKey, Incarnation),
        last_block: BlockHash,
        uses: &[LastUse],
    ) {
        if uses.last().is_none_or(|last| last.end <= TOLERANCE_BLOCKS) {
            return;
        }
        let settled = self.history.iter().rev().find(|(at_ms, _)| at_ms + SETTLED_AFTER_MS <= now_ms);
        let settled_seq = settled.map_or(0, |(_, seq)| *seq);
        let belief = self.belief(endpoint, incarnation);
        let settled_seq = settled_seq.max(belief.idle_seq);
        belief.placements.push_back(AwaitedPlacement { last_block, uses: uses.into(), settled_seq });
        let surplus = belief.placements.len().saturating_sub(MAX_PLACEMENTS);
        belief.placements.drain(..surplus);
    }

    /// Records that the endpoint has no prompt to process after the change `seq`.
    pub(crate) fn record_idle(&mut self, (endpoint, incarnation): (EndpointKey, Incarnation), seq: u64) {
        self.belief(endpoint, incarnation).idle_seq = seq;
    }

    /// Compares the usage of a response with the belief. Returns whether blocks are to be evicted.
    pub(crate) fn compare(&mut self, now_ms: u64, usage: &UsageReport) -> bool {
        let is_evicting = usage.last_block != BlockHash::ROOT
            && self.belief(usage.endpoint, usage.incarnation).compare(now_ms, usage);
        if is_evicting {
            self.evicting.insert(usage.endpoint);
        }
        is_evicting
    }

    /// Remembers the number of the latest change.
    pub(crate) fn tick(&mut self, now_ms: u64, seq: u64) {
        if self.history.back().is_none_or(|(at_ms, _)| at_ms + HISTORY_STEP_MS <= now_ms) {
            self.history.push_back((now_ms, seq));
            let surplus =
                self.history.len().saturating_sub((SETTLED_AFTER_MS / HISTORY_STEP_MS) as usize + 2);
            self.history.drain(..surplus);
        }
    }

    /// Forgets an endpoint that is gone or was restarted.
    pub(crate) fn forget(&mut self, endpoint: EndpointKey) {
        self.endpoints.remove(&endpoint);
        self.evicting.remove(&endpoint);
    }

    /// Returns the endpoints with blocks to evict, and up to which use.
    pub(crate) fn evicting(&self) -> Vec<(EndpointKey, u64)> {
        let of = |endpoint: &EndpointKey| Some((*endpoint, self.endpoints.get(endpoint)?.gone_seq));
        self.evicting.iter().filter_map(of).collect()
    }

    /// Records that all blocks that were gone were evicted, and that `remaining_percent` of the capacity is held.
    pub(crate) fn record_evicted(&mut self, now_ms: u64, endpoint: EndpointKey, remaining_percent: u64) {
        self.evicting.remove(&endpoint);
        if let Some(belief) = self.endpoints.get_mut(&endpoint) {
            belief.shrink(now_ms, remaining_percent);
        }
    }

    /// Returns the accuracy of the endpoint if it differs significantly from the published one.
    pub(crate) fn changed(&self, published: &EndpointState) -> Option<CacheAccuracy> {
        let accuracy = self.endpoints.get(&published.key).map(CacheBelief::accuracy).unwrap_or_default();
        is_significant(published.cache_accuracy, accuracy).then_some(accuracy)
    }
}

fn is_significant(before: CacheAccuracy, after: CacheAccuracy) -> bool {
    let error = match (before.mean_error_tokens, after.mean_error_tokens) {
        (Some(before), Some(after)) => {
            before.abs_diff(after) > SIGNIFICANT_TOKENS.max(before.unsigned_abs() / 8)
        }
        (before, after) => before != after,
    };
    error || before.capacity_percent != after.capacity_percent
}
