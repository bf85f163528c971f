//! The requests that arrive at simulated replicas.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;
use signalbox_types::{BlockHash, PromptSize, Request};

use crate::cluster::prompts;

/// The models that are requested.
const MODELS: [&str; 4] = ["a", "b", "c", "d"];

/// The priorities and fairness ids of requests.
const FLOWS: [(i32, &str); 5] = [(10, "a"), (0, "a"), (0, "b"), (-10, "a"), (0, "a")];

/// A request that has arrived.
#[derive(Clone, Debug)]
pub(super) struct Arriving {
    /// Which one it is of the requests of its replica.
    pub(super) number: u64,
    pub(super) chain: Arc<[BlockHash]>,
}

impl Arriving {
    pub(super) fn random(rng: &mut SmallRng, number: u64) -> Self {
        let (family, shared) = (rng.random_range(1..4), rng.random_range(0..3) * 12);
        let chain = prompts::chain(family, shared, rng.random_range(0..6), rng.random_range(1..48));
        Self { number, chain }
    }

    /// Returns the request as the EPP reads it, if blocks have so many bytes.
    pub(super) fn request(&self, block_bytes: u32) -> Request {
        let text_bytes = self.chain.len() as u64 * u64::from(block_bytes);
        let prompt = PromptSize { text_bytes, ..PromptSize::default() };
        let at = self.number as usize;
        let (model, (priority, flow)) = (MODELS[at % MODELS.len()], FLOWS[at % FLOWS.len()]);
        Request {
            model: model.to_owned(),
            prompt,
            priority,
            flow: Some(flow.to_owned()),
            ..Request::default()
        }
    }
}
