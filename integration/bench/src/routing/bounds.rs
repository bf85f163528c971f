//! Lower bounds that no policy can beat, and estimates with one cache for all pods.

use std::collections::{BTreeMap, HashMap, HashSet};

use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::engine::PassWork;

use crate::sim::SimRequest;

/// What a request gets from a pod without other requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Least time to first token: the passes that compute the rest of the prompt, without a wait.
    pub(crate) ttft_us: u64,
    /// Prompt tokens found in the cache.
    pub(crate) cached_tokens: u32,
}

impl Bound {
    /// Computes the bound for a request of which a pod holds the first `known` blocks, on the fastest of `models`.
    fn of(request: &SimRequest, known: usize, models: &[&ModelConfig]) -> Self {
        let tokens = request.prompt.tokens;
        let block_tokens = models[0].block_size_tokens;
        // The last token is always computed.
        let cached_tokens = (known as u32).min((tokens - 1) / block_tokens) * block_tokens;
        let ttft_us = models.iter().map(|model| prefill_us(model, cached_tokens, tokens)).min();
        Self { ttft_us: ttft_us.unwrap_or(0), cached_tokens }
    }
}

/// Returns how long a model server takes at least to compute the tokens `from..to` of a prompt: one pass for all of
/// them, and the fixed time of the other passes that its token budget requires. Reading the weights again is left
/// out, because other splits into passes may hide it.
fn prefill_us(model: &ModelConfig, from: u32, to: u32) -> u64 {
    let most_tokens = model.pass_budget_tokens.min(model.long_prefill_tokens.unwrap_or(u32::MAX));
    let prefill_tokens = to - from;
    let (tokens, context) = (u64::from(prefill_tokens), u64::from(from));
    let prefill_token_pairs = tokens * context + tokens * tokens / 2;
    let work = PassWork { prefill_tokens, prefill_token_pairs, ..PassWork::NONE };
    let more_passes = u64::from(prefill_tokens.div_ceil(most_tokens) - 1);
    model.pass_duration_us(&work) + more_passes * model.pass_base_us
}

/// Returns the different models of `pods`.
fn distinct(pods: &[ModelConfig]) -> Vec<&ModelConfig> {
    let mut models: Vec<&ModelConfig> = Vec::new();
    for pod in pods {
        if !models.contains(&pod) {
            models.push(pod);
        }
    }
    models
}

/// Returns what no policy can beat: each request alone on the fastest pod, which holds all earlier prompts and their
/// answers.
pub(super) fn lower_bounds(requests: &[SimRequest], pods: &[ModelConfig]) -> Vec<Bound> {
    let models = distinct(pods);
    let mut held: HashSet<u64> = HashSet::new();
    let bound = |request: &SimRequest| {
        let known = request.prompt.engine_blocks().iter().take_while(|block| held.contains(*block)).count();
        held.extend(request.prompt.blocks.iter());
        Bound::of(request, known, &models)
    };
    requests.iter().map(bound).collect()
}

/// Like [`lower_bounds`], but with one LRU cache of the size of all pods' caches together. This is not a
/// strict bound, because LRU does not know which prompts will return; but nothing is cached twice and no
/// request waits.
pub(super) fn single_cache_bounds(requests: &[SimRequest], pods: &[ModelConfig]) -> Vec<Bound> {
    let models = distinct(pods);
    let mut cache =
        Lru { capacity: pods.iter().map(|pod| pod.total_blocks() as usize).sum(), ..Lru::default() };
    let bound = |request: &SimRequest| Bound::of(request, cache.use_chain(&request.prompt.blocks), &models);
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

    #[test]
    fn long_prompt_takes_several_passes_and_attends_to_all_before() {
        let model = ModelConfig {
            pass_budget_tokens: 1_000,
            pass_base_us: 10,
            prefill_tokens_per_second: 1_000_000,
            prefill_attention_ps: 1_000_000,
            ..ModelConfig::default()
        };
        // Three passes; each of 2,100 tokens attends to the 500 before and on average to half of the others.
        assert_eq!(3 * 10 + 2_100 + 2_100 * (500 + 1_050), prefill_us(&model, 500, 2_600));
    }
}
