//! The filter that keeps requests at endpoints with a cached prefix, unless the delay there is too long.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::decision_inputs::DecisionInputs;

/// Keeps requests at endpoints that hold their prompt, unless the delay there is too long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixAffinity {
    /// Share of the prompt's blocks that an endpoint must hold; 0 or less disables the filter.
    pub threshold: f64,
    /// Probability of keeping all endpoints, to explore others: 0 to 1.
    pub exploration: f64,
    /// Maximum additional time to the first token compared with other endpoints, in milliseconds; 0 for no
    /// limit.
    pub max_penalty_ms: f64,
    /// Prompt tokens that an endpoint is assumed to process per second.
    pub peak_tokens_per_second: f64,
}

impl PrefixAffinity {
    /// Keeps the endpoints that hold the prompt, if there are any and no other endpoint is faster by more
    /// than the maximum. The time to the first token is estimated as tokens in flight ÷ peak tokens per
    /// second.
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
