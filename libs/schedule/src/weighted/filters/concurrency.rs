//! The filter that limits the work in flight at an endpoint.

use serde::{Deserialize, Serialize};

use crate::decision_inputs::DecisionInputs;

/// Limits on the work in flight at an endpoint, booked by all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Requests in flight; `None` for no limit.
    pub requests: Option<f64>,
    /// Uncached prompt tokens in flight; `None` for no limit.
    pub tokens: Option<f64>,
    /// Fraction by which both limits are raised for single endpoints.
    pub headroom: f64,
}

impl Concurrency {
    /// Keeps the endpoints below both limits.
    pub(super) fn retain(&self, inputs: &DecisionInputs<'_>, from: &[usize], into: &mut Vec<usize>) {
        let factor = 1.0 + self.headroom;
        let below = |value: f64, limit: Option<f64>| limit.is_none_or(|limit| value < limit * factor);
        into.extend(from.iter().copied().filter(|at| {
            let load = inputs.load(*at);
            below(f64::from(load.requests), self.requests) && below(load.prefill_tokens as f64, self.tokens)
        }));
    }
}
