//! Evicts blocks so that each endpoint stays within its capacity, and all together within the memory bound.

use signalbox_types::EndpointKey;

use super::Pool;
use crate::pool_state::Change;

/// How many prompts may be evicted after one placement, besides one for each block that it added: as each eviction frees
/// at least one block, that makes up for the placement, and a bit more.
const MORE_EVICTIONS: usize = 64;

impl Pool {
    /// Evicts the least recently used blocks of the endpoint until its blocks fit into its KV cache.
    pub(super) fn evict_to_capacity(&mut self, endpoint: EndpointKey) {
        if self.pool_state.endpoint(endpoint).is_none() {
            return;
        }
        let percent = u64::from(self.cache_beliefs.capacity_percent(endpoint));
        let room = (self.nominal_room(endpoint).saturating_mul(percent) / 100) as usize;
        loop {
            let surplus = self.pool_state.index_writer().placed_blocks(endpoint).saturating_sub(room);
            let Some((last_used_seq, blocks)) = (surplus > 0)
                .then(|| self.pool_state.index_writer().least_recently_used(endpoint, surplus))
                .flatten()
            else {
                return;
            };
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
            let index_writer = self.pool_state.index_writer();
            let surplus = index_writer.memory_bytes().saturating_sub(self.config.index_bytes);
            let Some(endpoint) = index_writer.least_recently_used_endpoint().filter(|_| surplus > 0) else {
                return;
            };
            let blocks_at_least = surplus.div_ceil(size_of::<u64>());
            let Some((last_used_seq, blocks)) = index_writer.least_recently_used(endpoint, blocks_at_least)
            else {
                return;
            };
            self.commit(Change::Evicted { endpoint, last_used_seq, blocks });
        }
    }
}
