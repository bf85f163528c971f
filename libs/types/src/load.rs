//! Work in flight at an endpoint.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Work in flight at an endpoint. A gauge: the latest value replaces the previous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Requests that have not ended.
    pub requests: u32,
    /// Requests without a first response chunk.
    pub prefills: u32,
    /// Uncached prompt tokens of the requests in `prefills`.
    pub prefill_tokens: u64,
}

impl Load {
    /// Nothing in flight.
    pub const ZERO: Self = Self { requests: 0, prefills: 0, prefill_tokens: 0 };

    /// Returns this load without `part`, and zero where `part` is larger.
    pub fn saturating_sub(self, part: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(part.requests),
            prefills: self.prefills.saturating_sub(part.prefills),
            prefill_tokens: self.prefill_tokens.saturating_sub(part.prefill_tokens),
        }
    }

    /// Returns how many of the prefill tokens are probably left `since_ms` milliseconds after the endpoint started with its
    /// current prompt: as many as it processes in that time are done, but at most the mean length of its prompts.
    pub fn unprocessed_tokens(self, since_ms: u64, tokens_per_second: u64) -> u64 {
        let mean_tokens = self.prefill_tokens / u64::from(self.prefills).max(1);
        let processed = (since_ms.saturating_mul(tokens_per_second) / 1_000).min(mean_tokens);
        self.prefill_tokens - processed
    }
}

impl Add for Load {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            prefills: self.prefills.saturating_add(other.prefills),
            prefill_tokens: self.prefill_tokens.saturating_add(other.prefill_tokens),
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
