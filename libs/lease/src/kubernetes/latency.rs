//! How long the API server takes to answer. Pure.

use std::time::Duration;

/// How long answers take at most, as the last ones show.
///
/// An answer that takes longer than expected is a sign that others wait too. An API server that is always slow is
/// not: what it does late it does at the usual rate.
#[derive(Debug, Default)]
pub(super) struct Latency {
    expected: Duration,
}

impl Latency {
    /// Returns how long a request may take before it is slow, where `ttl` is the time to live of members.
    pub(super) fn limit(&self, ttl: Duration) -> Duration {
        self.expected + ttl / 6
    }

    /// Returns how long a request takes at most, as the last ones show.
    pub(super) fn expected(&self) -> Duration {
        self.expected
    }

    /// Takes note of an answer after this time.
    pub(super) fn observe(&mut self, elapsed: Duration) {
        self.expected = elapsed.max(self.expected * 7 / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_always_slow_is_expected_to_be() {
        let mut latency = Latency::default();
        let mut is_slow = |seconds: u64| {
            let elapsed = Duration::from_secs(seconds);
            let is_slow = elapsed > latency.limit(Duration::from_secs(6));
            latency.observe(elapsed);
            is_slow
        };
        assert!(is_slow(3));
        // Some requests may be quick.
        for seconds in [3, 3, 0, 3, 0, 0, 3] {
            assert!(!is_slow(seconds));
        }
        for _ in 0..30 {
            is_slow(0);
        }
        assert!(is_slow(3));
    }
}
