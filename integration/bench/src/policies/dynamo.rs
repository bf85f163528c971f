//! NVIDIA Dynamo's KV router as its standalone endpoint picker runs it: its index follows the engines' KV-cache
//! events, it tokenizes with the engine's tokenizer, and replicas tell each other of their requests.
//!
//! The cost of a worker, in blocks, is
//!
//! ```text
//! prefill load scale · max(0, (prefill tokens in flight + tokens of the prompt) ÷ block size − overlap) + decode blocks
//! ```
//!
//! where overlap is the number of leading blocks that the engine caches, and decode blocks are the distinct
//! blocks of all requests in flight there, this one included. (The terms for host memory, disk and shared caches
//! do not apply; the overlap's weight is 1, that of the number of requests and the temperature are 0.)
//!
//! Two simplifications are in its favor: events arrive at once and in full, and the tokenizer takes no time.

use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use signalbox_modelsim::ModelConfig;

use super::active_requests::{ActiveRequest, ActiveRequests, PeerUpdate};
use super::chooser::{Arriving, Choice, Chooser};
use super::simple::least;

/// Settings of the cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Weight of prefill relative to decode.
    prefill_load_scale: f64,
}

impl Settings {
    /// The best settings for prompts as in the scenes, found with the seeds for tuning.
    pub(super) const TUNED: Self = Self { prefill_load_scale: 16.0 };
}

impl Default for Settings {
    fn default() -> Self {
        Self { prefill_load_scale: 1.0 }
    }
}

/// A replica of Dynamo's endpoint picker.
pub(super) struct Dynamo {
    settings: Settings,
    block_tokens: u32,
    active: ActiveRequests,
    /// What the other replicas must be told.
    updates: Vec<PeerUpdate>,
}

impl Dynamo {
    pub(super) fn new(settings: Settings, pods: &[ModelConfig]) -> Self {
        let block_tokens = pods[0].block_size_tokens;
        Self { settings, block_tokens, active: ActiveRequests::new(pods.len()), updates: Vec::new() }
    }

    fn record(&mut self, update: PeerUpdate) {
        self.active.apply(&update);
        self.updates.push(update);
    }
}

impl Chooser for Dynamo {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        let (tokens, block_tokens) = (u64::from(arriving.prompt.tokens), u64::from(self.block_tokens));
        let overlaps: Vec<_> = (0..self.active.workers()).map(arriving.engine_blocks).collect();
        let decode_blocks = self.active.blocks_with(arriving.prompt.engine_blocks());
        let cost = |at: usize| {
            let prefill_blocks = (self.active.prefill_tokens(at) + tokens) as f64 / block_tokens as f64;
            let uncached_blocks = (prefill_blocks - f64::from(overlaps[at])).max(0.0);
            self.settings.prefill_load_scale * uncached_blocks + decode_blocks[at] as f64
        };
        let worker = least(0..self.active.workers(), rng, cost);
        let cached_tokens = u64::from(overlaps[worker]) * block_tokens;
        let prefill_tokens = tokens.saturating_sub(cached_tokens);
        let blocks = arriving.prompt.engine_blocks().into();
        let request = ActiveRequest { worker, blocks, prefill_tokens };
        self.record(PeerUpdate::Added(arriving.number, request));
        Choice { position: worker, cached_tokens: Some(cached_tokens) }
    }

    fn record_first_output(&mut self, number: usize) {
        self.record(PeerUpdate::PrefillCompleted(number));
    }

    fn record_end(&mut self, number: usize) {
        self.record(PeerUpdate::Ended(number));
    }

    fn take_updates(&mut self) -> Vec<PeerUpdate> {
        std::mem::take(&mut self.updates)
    }

    fn apply_update(&mut self, update: &PeerUpdate) {
        self.active.apply(update);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use signalbox_schedule::DecisionInputs;
    use signalbox_state::{PeerLoad, PrefixMatches, View};
    use signalbox_types::{Origin, Request};

    use super::*;
    use crate::sim::Prompt;

    /// Chooses for a prompt of these blocks, of which each engine caches the first few.
    fn choose(replica: &mut Dynamo, number: usize, blocks: &[u64], cached: [u32; 2]) -> Choice {
        let view = View::default();
        let local = view.local_state(Origin(1), PeerLoad::Current, 0);
        let (matches, request) = (PrefixMatches::default(), Request::default());
        let prompt = Prompt {
            chain: [].into(),
            text_bytes: 0,
            blocks: blocks.into(),
            prompt_blocks: blocks.len(),
            tokens: blocks.len() as u32 * 16,
        };
        let inputs = DecisionInputs { view: &view, local: &local, matches: &matches, request: &request };
        let arriving = Arriving { number, prompt: &prompt, inputs, engine_blocks: &|at| cached[at] };
        replica.choose(&arriving, &mut SmallRng::seed_from_u64(1))
    }

    fn replica() -> Dynamo {
        Dynamo::new(Settings::default(), &vec![ModelConfig::default(); 2])
    }

    #[test]
    fn engine_that_caches_the_prompt_is_chosen_unless_it_has_more_to_do() {
        let mut replica = replica();
        let first = choose(&mut replica, 1, &[1, 2, 3, 4], [0, 3]);
        assert_eq!((1, Some(48)), (first.position, first.cached_tokens));
        // Engine 1 has 4 decode blocks and 1 of prefill, and caches 3: one to choose would cost 4 + 5 - 3 + 5.
        assert_eq!(0, choose(&mut replica, 2, &[5, 6, 7, 8], [0, 3]).position);
    }

    #[test]
    fn requests_of_other_replicas_count_until_they_end() {
        let (mut one, mut other) = (replica(), replica());
        assert_eq!(1, choose(&mut one, 1, &[1, 2, 3, 4], [0, 1]).position);
        let tell = |from: &mut Dynamo, to: &mut Dynamo| {
            from.take_updates().iter().for_each(|update| to.apply_update(update));
        };
        tell(&mut one, &mut other);
        assert_eq!(0, choose(&mut other, 2, &[5, 6], [0, 1]).position);
        other.record_end(2);
        one.record_end(1);
        tell(&mut one, &mut other);
        assert_eq!(1, choose(&mut other, 3, &[5, 6], [0, 1]).position);
    }
}
