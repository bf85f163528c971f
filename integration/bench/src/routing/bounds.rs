//! Lower bounds that no policy can beat, and estimates with one cache for all pods.

use std::collections::{BTreeMap, HashMap, HashSet};

use signalbox_modelsim::ModelConfig;

use crate::sim::SimRequest;

/// What a request gets from a pod without other requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Time to first token: number of passes · their fixed duration + uncached tokens ÷ prefill rate.
    pub(crate) ttft_us: u64,
    /// Prompt tokens found in the cache.
    pub(crate) cached_tokens: u32,
}

impl Bound {
    /// Computes the bound for a request of which a pod with `model` holds the first `known` blocks.
    fn of(request: &SimRequest, known: usize, model: &ModelConfig) -> Self {
        let tokens = request.prompt.tokens;
        // The last token is always computed.
        let cached_tokens =
            (known as u32).min((tokens - 1) / model.block_size_tokens) * model.block_size_tokens;
        let uncached = u64::from(tokens - cached_tokens);
        let passes = uncached.div_ceil(u64::from(model.pass_budget_tokens));
        let ttft_us =
            passes * model.pass_base_us + uncached * 1_000_000 / u64::from(model.prefill_tokens_per_second);
        Self { ttft_us, cached_tokens }
    }
}

/// Returns what no policy can beat: each request alone on a pod with `model` that holds all earlier prompts.
pub(super) fn lower_bounds(requests: &[SimRequest], model: &ModelConfig) -> Vec<Bound> {
    let mut held: HashSet<u64> = HashSet::new();
    let bound = |request: &SimRequest| {
        let blocks = &request.prompt.blocks;
        let known = blocks.iter().take_while(|block| held.contains(*block)).count();
        held.extend(blocks.iter());
        Bound::of(request, known, model)
    };
    requests.iter().map(bound).collect()
}

/// Like [`lower_bounds`], but with one LRU cache of the size of all pods' caches together. This is not a
/// strict bound, because LRU does not know which prompts will return; but nothing is cached twice and no
/// request waits.
pub(super) fn single_cache_bounds(requests: &[SimRequest], pods: &[ModelConfig]) -> Vec<Bound> {
    let mut cache =
        Lru { capacity: pods.iter().map(|pod| pod.total_blocks() as usize).sum(), ..Lru::default() };
    let bound = |request: &SimRequest| Bound::of(request, cache.use_chain(&request.prompt.blocks), &pods[0]);
    requests.iter().map(bound).collect()
}

/// Blocks in order of use.
#[derive(Default)]
struct Lru {
    capacity: usize,
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
    latest: u64,
}

impl Lru {
    /// Uses a chain from its end, so that its end is evicted first. Returns the number of leading blocks that
    /// were cached.
    fn use_chain(&mut self, chain: &[u64]) -> usize {
        let known = chain.iter().take_while(|block| self.used.contains_key(*block)).count();
        for block in chain.iter().rev() {
            self.latest += 1;
            if let Some(before) = self.used.insert(*block, self.latest) {
                self.order.remove(&before);
            }
            self.order.insert(self.latest, *block);
        }
        while self.used.len() > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_chain_is_evicted_from_its_end() {
        let mut cache = Lru { capacity: 4, ..Lru::default() };
        assert_eq!(0, cache.use_chain(&[1, 2, 3]));
        assert_eq!(1, cache.use_chain(&[1, 4]));
        assert_eq!(0, cache.use_chain(&[5]));
        // 3 was evicted, 2 is still cached.
        assert_eq!(2, cache.use_chain(&[1, 2, 3]));
    }
}
