//! What an algorithm sees of a request, and what it answers.

use rand::rngs::SmallRng;
use signalbox_schedule::DecisionInputs;

use super::active_requests::PeerUpdate;
use crate::sim::Prompt;

/// A request for which an endpoint is to be chosen.
#[derive(Clone, Copy)]
pub(crate) struct Arriving<'a> {
    /// Number of the request, unique among the live ones.
    pub(crate) number: usize,
    pub(crate) prompt: &'a Prompt,
    /// What the replica knows, without matches: algorithms have their own indexes.
    pub(crate) inputs: DecisionInputs<'a>,
    /// Returns how many leading blocks of the prompt the engine at a position caches: what its KV-cache events
    /// have told.
    pub(crate) engine_blocks: &'a dyn Fn(usize) -> u32,
}

/// The chosen endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) position: usize,
    /// Prompt tokens that the endpoint is believed to have cached, as the algorithm counts tokens; `None` if it
    /// has no belief.
    pub(crate) cached_tokens: Option<u64>,
}

impl Choice {
    /// Returns a choice that was made without a belief about caches.
    pub(super) fn of(position: usize) -> Self {
        Self { position, cached_tokens: None }
    }
}

/// An algorithm at work in one replica, with what it remembers.
pub(crate) trait Chooser {
    /// Chooses an endpoint and remembers that the request goes there.
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice;

    /// Records that the first output of a request arrived.
    fn record_first_output(&mut self, _number: usize) {}

    /// Records that a request ended.
    fn record_end(&mut self, _number: usize) {}

    /// Takes what the other replicas must be told.
    fn take_updates(&mut self) -> Vec<PeerUpdate> {
        Vec::new()
    }

    /// Applies what another replica told.
    fn apply_update(&mut self, _update: &PeerUpdate) {}
}
