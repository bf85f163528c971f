//! Evicts blocks so that each endpoint stays within its capacity, and all together within the memory bound.

use signalbox_types::EndpointKey;

use super::Pool;
use crate::pool_state::Change;

/// How many prompts may be evicted after one placement, besides one for each block that it added: as each eviction frees
/// at least one block, that makes up for the placement, and a bit more.
const MORE_EVICTIONS: usize = 64;

/// Whether the round checks that the endpoints' blocks fit into their KV caches. Besides what is learned of one endpoint,
/// that depends on the bytes per token of the pool's median model.
#[derive(Debug, Default)]
pub(super) struct RoomCheck {
    /// The bytes per token when the latest round began, times 1,000.
    bytes_per_token_milli: u32,
    is_due: bool,
}

impl Pool {
    /// Lets the round that is about to begin check whether the blocks of all endpoints fit, if that may have changed.
    pub(super) fn plan_room_check(&mut self) {
        let now = self.token_ratios.typical().bytes_per_token_milli;
        let before = std::mem::replace(&mut self.room_check.bytes_per_token_milli, now);
        self.room_check.is_due = now != before;
        if self.room_check.is_due {
            self.touch_all();
        }
    }

    /// Evicts blocks that do not fit, if the round checks that.
    pub(super) fn check_room(&mut self, endpoint: EndpointKey) {
        if self.room_check.is_due {
            self.evict_to_capacity(endpoint);
        }
    }

    /// Evicts the least recently used blocks of the endpoint until its blocks fit into its KV cache.
    pub(super) fn evict_to_capacity(&mut self, endpoint: EndpointKey) {
        let held = self.pool_state.index_writer().placed_blocks(endpoint);
        if held == 0 {
            return;
        }
        let percent = u64::from(self.cache_beliefs.capacity_percent(endpoint));
        let room = (self.nominal_room(endpoint).saturating_mul(percent) / 100) as usize;
        let mut surplus = held.saturating_sub(room);
        while surplus > 0
            && let Some((last_used_seq, blocks)) =
                self.pool_state.index_writer().least_recently_used(endpoint, surplus)
        {
            surplus = surplus.saturating_sub(blocks as usize);
            self.commit(Change::Evicted { endpoint, last_used_seq, blocks });
        }
    }

    /// Returns how many blocks fit into the endpoint's KV cache, at the bytes per token of the pool's median model.
    pub(super) fn nominal_room(&self, endpoint: EndpointKey) -> u64 {
        let capacity = self.pool_state.endpoint(endpoint).and_then(|endpoint| endpoint.observed.capacity);
        let kv_tokens = capacity.map_or(self.config.assumed_kv_tokens, |capacity| capacity.kv_tokens);
        let bytes_per_token_milli = u64::from(self.token_ratios.typical().bytes_per_token_milli);
        let block_bytes_milli = u64::from(self.config.format.block_bytes.max(1)) * 1_000;
        kv_tokens.saturating_mul(bytes_per_token_milli) / block_bytes_milli
    }

    /// Evicts the least recently used blocks of all endpoints until the index is within its memory bound, after a
    /// placement that added `added` blocks. The work is limited; the next placement continues.
    pub(super) fn evict_to_memory_bound(&mut self, added: usize) {
        for _ in 0..MORE_EVICTIONS + added {
            let surplus =
                self.pool_state.index_writer().memory_bytes().saturating_sub(self.config.index_bytes);
            if surplus == 0 {
                return;
            }
            let Some(endpoint) = self.pool_state.least_recently_used_endpoint() else { return };
            let blocks_at_least = surplus.div_ceil(size_of::<u64>());
            let oldest = self.pool_state.index_writer().least_recently_used(endpoint, blocks_at_least);
            let Some((last_used_seq, blocks)) = oldest else { return };
            self.commit(Change::Evicted { endpoint, last_used_seq, blocks });
        }
    }
}
