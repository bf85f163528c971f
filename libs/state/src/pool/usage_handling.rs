//! Handles the usage that engines report: learns the tokens of models, and corrects what endpoints are believed to
//! hold.

use signalbox_prefix::LastUse;
use signalbox_types::{BlockHash, EndpointKey, Incarnation};

use super::Pool;
use crate::pool_state::Change;
use crate::reports::UsageReport;

/// The maximum number of prompts whose blocks are evicted with one input, over all endpoints. The rest follows with
/// the next inputs that find blocks gone and with the next ticks.
const MAX_EVICTIONS_PER_INPUT: usize = 256;

impl Pool {
    /// Handles the usage of the responses in one batch.
    pub(super) fn handle_usage(&mut self, now_ms: u64, usage: &[UsageReport]) {
        let mut is_any_gone = false;
        for usage in usage {
            is_any_gone |= self.compare_usage(now_ms, usage);
        }
        if is_any_gone {
            self.evict_what_is_gone(now_ms);
        }
    }

    /// Learns from the usage of one response. Returns whether it shows that blocks are to be evicted.
    fn compare_usage(&mut self, now_ms: u64, usage: &UsageReport) -> bool {
        let Some(endpoint_state) = self.pool_state.endpoint(usage.endpoint) else { return false };
        let is_current = endpoint_state.observed.incarnation == usage.incarnation;
        self.rounds.touch(usage.endpoint);
        self.learn_token_ratio(usage);
        is_current && self.cache_beliefs.compare(now_ms, usage)
    }

    /// Records a placement whose usage will be compared with the earlier `uses` of its blocks.
    pub(super) fn await_usage(
        &mut self,
        now_ms: u64,
        served: (EndpointKey, Incarnation),
        last_block: BlockHash,
        uses: &[LastUse],
    ) {
        if self.pool_state.loads().total(served.0).prefills == 0 {
            self.cache_beliefs.record_idle(served, self.journal.head().seq);
        }
        self.cache_beliefs.record_placement(now_ms, served, last_block, uses);
    }

    /// Continues evictions.
    pub(super) fn tick_caches(&mut self, now_ms: u64) {
        self.cache_beliefs.tick(now_ms, self.journal.head().seq);
        self.evict_what_is_gone(now_ms);
    }

    /// Evicts blocks that engines no longer hold, a bounded number at a time, then reduces the capacity of the
    /// endpoints that held too little. Must be called at most once per input, because it uses up the bound.
    fn evict_what_is_gone(&mut self, now_ms: u64) {
        let evicting = self.cache_beliefs.evicting();
        let mut budget = MAX_EVICTIONS_PER_INPUT;
        for (at, (endpoint, gone_seq)) in evicting.iter().copied().enumerate() {
            // An equal share of what is left, so that endpoints that need less leave more to the others.
            let share = budget.div_ceil(evicting.len() - at);
            let mut oldest = self.pool_state.index_writer().least_recently_used(endpoint, usize::MAX);
            for _ in 0..share {
                let Some((last_used_seq, blocks)) = oldest.filter(|(used, _)| *used <= gone_seq) else {
                    break;
                };
                self.commit(Change::Evicted { endpoint, last_used_seq, blocks });
                budget -= 1;
                oldest = self.pool_state.index_writer().least_recently_used(endpoint, usize::MAX);
            }
            if oldest.is_none_or(|(used, _)| used > gone_seq) {
                let held = self.pool_state.index_writer().placed_blocks(endpoint) as u64;
                let remaining_percent = held.saturating_mul(100) / self.nominal_room(endpoint).max(1);
                self.cache_beliefs.record_evicted(now_ms, endpoint, remaining_percent);
                self.rounds.touch(endpoint);
                self.evict_to_capacity(endpoint);
            }
        }
    }
}
