//! Delays retries after repeated failures, and logs the first failure and the recovery.

use std::fmt::Display;
use std::time::Duration;

use signalbox_actors::{Backoff, BackoffPolicy};

const RETRY: BackoffPolicy = BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// Tracks failures in a row: logs the first failure and the recovery, and delays each retry.
#[derive(Debug)]
pub(crate) struct OutageTracker {
    backoff: Backoff,
    has_failed: bool,
}

impl OutageTracker {
    /// Starts without failures.
    pub(crate) fn new() -> Self {
        Self { backoff: Backoff::new(RETRY), has_failed: false }
    }

    /// Returns whether the last attempt failed.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Records a failure and returns the delay before the next attempt. Logs `message` as a warning if this
    /// is the first failure in a row. `jitter` is in `[0, 1)`.
    pub(crate) fn record_failure(&mut self, message: &str, error: &impl Display, jitter: f64) -> Duration {
        if std::mem::replace(&mut self.has_failed, true) {
            tracing::debug!(%error, "{message}");
        } else {
            tracing::warn!(%error, "{message}");
        }
        self.backoff.on_failure(jitter)
    }

    /// Shortens the next delay after a failure in which etcd did answer.
    pub(crate) fn reset_backoff(&mut self) {
        self.backoff.on_success();
    }

    /// Records a success. Logs `message` if it ends a series of failures.
    pub(crate) fn record_success(&mut self, message: &str) {
        if std::mem::take(&mut self.has_failed) {
            tracing::info!("{message}");
        }
        self.backoff.on_success();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_a_second_and_restart_after_a_success() {
        let mut outage = OutageTracker::new();
        let delays: Vec<_> = (0..7).map(|_| outage.record_failure("down", &"why", 0.0).as_millis()).collect();
        assert_eq!([50, 100, 200, 400, 800, 1_000, 1_000], delays[..]);
        outage.reset_backoff();
        assert_eq!(50, outage.record_failure("down", &"why", 0.0).as_millis());
        assert_eq!(100, outage.record_failure("down", &"why", 0.0).as_millis());
        outage.record_success("up");
        assert_eq!(50, outage.record_failure("down", &"why", 0.0).as_millis());
    }
}
