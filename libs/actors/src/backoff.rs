//! Computes how long to wait before the next attempt.

use std::time::Duration;

/// Delays that double from `base` up to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// Delay after the first failure.
    pub base: Duration,
    /// Longest delay.
    pub cap: Duration,
}

impl BackoffPolicy {
    /// Returns the delay after `failures` failures in a row: `min(base · 2^(failures − 1), cap) · (1 − jitter
    /// / 2)`.
    ///
    /// The caller draws `jitter` from `[0, 1)`, so that processes that failed together do not retry together.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// Counts failures in a row and derives the delay from them.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
}

impl Backoff {
    /// Starts without failures.
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Counts a failure and returns the delay before the next attempt; see [`BackoffPolicy::delay`].
    pub fn on_failure(&mut self, jitter: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.policy.delay(self.failures, jitter)
    }

    /// Resets the count of failures.
    pub fn on_success(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BackoffPolicy =
        BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_millis(2_000) };

    #[test]
    fn delay_doubles_up_to_the_cap_and_success_resets_it() {
        let mut backoff = Backoff::new(POLICY);
        let delays: Vec<_> = (0..8).map(|_| backoff.on_failure(0.0).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        backoff.on_success();
        assert_eq!(backoff.on_failure(0.0), POLICY.base);
    }

    #[test]
    fn jitter_shortens_the_delay_by_at_most_half() {
        assert_eq!(POLICY.delay(1, 0.5), Duration::from_micros(37_500));
        assert_eq!(POLICY.delay(u32::MAX, 7.0), POLICY.cap / 2);
    }
}
