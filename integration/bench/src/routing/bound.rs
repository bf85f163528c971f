//! What no policy can do better, and what the pods' memory allows at best.

use std::collections::{BTreeMap, HashMap, HashSet};

use signalbox_modelsim::ModelConfig;

use crate::sim::Coming;

/// What a request gets of a pod that has nothing else to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// When its first token comes: passes · their base + uncached tokens ÷ prefill rate.
    pub(crate) ttft_us: u64,
    /// How much of its prompt comes out of the cache.
    pub(crate) cached_tokens: u32,
}

impl Bound {
    /// For a request of which a pod of `model` holds the first `known` blocks.
    fn of(request: &Coming, known: usize, model: &ModelConfig) -> Self {
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

/// What no policy can do better: each request alone on a pod of `model` that holds all prompts that came before.
pub(super) fn unbounded(requests: &[Coming], model: &ModelConfig) -> Vec<Bound> {
    let mut held: HashSet<u64> = HashSet::new();
    let bound = |request: &Coming| {
        let blocks = &request.prompt.blocks;
        let known = blocks.iter().take_while(|block| held.contains(*block)).count();
        held.extend(blocks.iter());
        Bound::of(request, known, model)
    };
    requests.iter().map(bound).collect()
}

/// As [`unbounded`], but with a cache of the size of all pods' together, which gives up what was not used for the longest time. No strict
/// bound, for it is not known beforehand what will be asked for again; but nothing is in it twice and nobody waits.
pub(super) fn one_cache(requests: &[Coming], pods: &[ModelConfig]) -> Vec<Bound> {
    let mut cache =
        Lru { capacity: pods.iter().map(|pod| pod.total_blocks() as usize).sum(), ..Lru::default() };
    let bound = |request: &Coming| Bound::of(request, cache.take(&request.prompt.blocks), &pods[0]);
    requests.iter().map(bound).collect()
}

/// Blocks in the order of their use.
#[derive(Default)]
struct Lru {
    capacity: usize,
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
    latest: u64,
}

impl Lru {
    /// Uses a chain, its end first, so that it is given up first. Returns how much of its beginning was there.
    fn take(&mut self, chain: &[u64]) -> usize {
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
    fn the_end_of_what_was_not_used_for_longest_is_given_up_first() {
        let mut cache = Lru { capacity: 4, ..Lru::default() };
        assert_eq!(0, cache.take(&[1, 2, 3]));
        assert_eq!(1, cache.take(&[1, 4]));
        assert_eq!(0, cache.take(&[5]));
        // 3 had to go, 2 is still there.
        assert_eq!(2, cache.take(&[1, 2, 3]));
    }
}
