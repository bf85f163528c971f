//! How much waits.

use std::ops::{Add, AddAssign, Sub};

/// What waits in a queue or a band.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Uncached prompt tokens and expected output tokens.
    pub tokens: u64,
}

impl Usage {
    /// Returns the mean cost of a request in tokens, at least 1.
    pub fn mean_tokens(self) -> u64 {
        self.tokens.div_ceil(self.requests.max(1)).max(1)
    }
}

impl Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            bytes: self.bytes.saturating_add(other.bytes),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usage {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            bytes: self.bytes.saturating_sub(other.bytes),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

/// What waits of one flow at one replica. A gauge: the latest value replaces the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// What waits.
    pub usage: Usage,
    /// How long the oldest request has waited, in milliseconds; 0 if none waits.
    pub oldest_wait_ms: u64,
    /// Up to which number the replica has used the grants for this flow.
    pub released: u64,
}

/// What waits of one flow at one replica, as the granter knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerBacklog {
    /// What waits.
    pub usage: Usage,
    /// Since when the oldest request has waited, in milliseconds of the granter's clock.
    pub oldest_ms: u64,
    /// Up to which number the replica has used its grants.
    pub released: u64,
    /// Up to which number requests may go.
    pub granted: u64,
}

impl PeerBacklog {
    /// Takes over what the replica reports at `now_ms`.
    pub fn report(&mut self, now_ms: u64, backlog: Backlog) {
        self.usage = backlog.usage;
        self.oldest_ms = now_ms.saturating_sub(backlog.oldest_wait_ms);
        self.released = backlog.released;
        // What the replica says that it has used was granted, perhaps by an earlier owner.
        self.granted = self.granted.max(backlog.released);
    }

    /// Returns how many granted requests have not gone yet, as far as the replica has reported.
    pub fn outstanding(&self) -> u64 {
        (self.granted - self.released.min(self.granted)).min(self.usage.requests)
    }

    /// Returns how many requests wait for a grant.
    pub fn ungranted(&self) -> u64 {
        self.usage.requests - self.outstanding()
    }

    /// Returns the mean cost of the waiting requests in tokens, at least 1.
    pub fn mean_tokens(&self) -> u64 {
        self.usage.mean_tokens()
    }

    /// Returns since when the first request without a grant has waited, if the waiting requests arrived evenly.
    pub fn head_ms(&self, now_ms: u64) -> u64 {
        let waited_ms = u128::from(now_ms.saturating_sub(self.oldest_ms));
        let share = waited_ms * u128::from(self.outstanding()) / u128::from(self.usage.requests.max(1));
        self.oldest_ms.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_requests_that_arrived_evenly_are_interpolated() {
        let usage = Usage { requests: 10, bytes: 0, tokens: 95 };
        let mut backlog = PeerBacklog::default();
        backlog.report(2_000, Backlog { usage, oldest_wait_ms: 1_000, released: 5 });
        assert_eq!(
            (1_000, 0, 10, 10),
            (backlog.head_ms(2_000), backlog.outstanding(), backlog.ungranted(), backlog.mean_tokens())
        );
        backlog.granted = 8;
        assert_eq!((1_300, 3, 7), (backlog.head_ms(2_000), backlog.outstanding(), backlog.ungranted()));
    }
}
