//! The result of a decision.

use serde::{Deserialize, Serialize};
use signalbox_types::Request;

use crate::least_time::CostTerms;

/// The endpoint that serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// An endpoint of the view was chosen.
    Picked {
        /// Position of the endpoint in the view.
        position: usize,
        /// Expected cost of serving the request there, also for policies that do not use it.
        terms: CostTerms,
    },
    /// The pool has no endpoint that takes new requests, or none that the gateway allows.
    NoEndpoint,
    /// The policy's filters removed every endpoint.
    Filtered,
}

impl Decision {
    /// Returns the tokens of the prompt of `request` that the chosen endpoint has to prefill: all if there is none.
    pub fn uncached_tokens(&self, request: &Request) -> u64 {
        let cached_tokens = match self {
            Self::Picked { terms, .. } => terms.cached_tokens,
            Self::NoEndpoint | Self::Filtered => 0,
        };
        request.prompt_tokens.saturating_sub(cached_tokens)
    }
}

/// An endpoint with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredEndpoint {
    /// Position of the endpoint in the view.
    pub position: usize,
    /// The total of a weighted policy; under least time the negated cost in milliseconds. Higher is better.
    pub score: f64,
}
