//! The filter that stays with who holds the prompt until that costs too much.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::decision_inputs::DecisionInputs;

/// Stays with who holds the prompt until that costs too much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixAffinity {
    /// Share of the prompt's blocks from which on an endpoint holds it; 0 or less turns the filter off.
    pub threshold: f64,
    /// How often all endpoints are kept, to try others: 0 to 1.
    pub exploration: f64,
    /// By how much longer than elsewhere the first token may take, in milliseconds; 0 for any time.
    pub max_penalty_ms: f64,
    /// Prompt tokens that an endpoint processes in a second.
    pub peak_tokens_per_second: f64,
}

impl PrefixAffinity {
    /// Keeps those that hold the prompt, if there are any and none of the others would begin so much sooner. The time to the first
    /// token is taken to be tokens in flight ÷ peak.
    pub(super) fn retain(
        &self,
        inputs: &DecisionInputs<'_>,
        rng: &mut impl Rng,
        from: &[usize],
        into: &mut Vec<usize>,
    ) {
        let is_off = from.len() <= 1 || self.threshold <= 0.0;
        if is_off || (self.exploration > 0.0 && rng.random::<f64>() < self.exploration) {
            into.extend_from_slice(from);
            return;
        }
        let [mut held_ms, mut other_ms] = [f64::INFINITY; 2];
        for at in from.iter().copied() {
            let first_token_ms =
                inputs.load(at).prefill_tokens as f64 / self.peak_tokens_per_second * 1_000.0;
            if inputs.held_share(at) >= self.threshold {
                held_ms = held_ms.min(first_token_ms);
                into.push(at);
            } else {
                other_ms = other_ms.min(first_token_ms);
            }
        }
        let costs_too_much = self.max_penalty_ms > 0.0 && held_ms - other_ms > self.max_penalty_ms;
        if into.is_empty() || costs_too_much {
            into.clear();
            into.extend_from_slice(from);
        }
    }
}
