//! Work that has been given to an endpoint and is not done.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Work in flight. State, not an event: the latest value replaces the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Requests sent and not ended.
    pub requests: u32,
    /// Those of them that have not answered with a first chunk yet.
    pub prefills: u32,
    /// Uncached prompt tokens of the latter.
    pub prefill_tokens: u64,
}

impl Load {
    /// Nothing in flight.
    pub const ZERO: Self = Self { requests: 0, prefills: 0, prefill_tokens: 0 };
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
