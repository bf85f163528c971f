//! How attempts that fail follow each other, and what is said of them.

use std::fmt::Display;
use std::time::Duration;

use signalbox_actors::{Backoff, BackoffPolicy};

const AGAIN: BackoffPolicy = BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// Failures in a row: one line in the log at their beginning and one at their end, and a pause after each.
#[derive(Debug)]
pub(super) struct Outage {
    backoff: Backoff,
    has_failed: bool,
}

impl Outage {
    /// Nothing has failed.
    pub(super) fn none() -> Self {
        Self { backoff: Backoff::new(AGAIN), has_failed: false }
    }

    /// Counts a failure; gives the pause before the next attempt. `jitter` is in `[0, 1)`.
    pub(super) fn goes_on(&mut self, what: &str, error: &impl Display, jitter: f64) -> Duration {
        if std::mem::replace(&mut self.has_failed, true) {
            tracing::debug!(%error, "{what}");
        } else {
            tracing::warn!(%error, "{what}");
        }
        self.backoff.on_failure(jitter)
    }

    /// The attempt failed, but etcd is there: the next pause is a short one.
    pub(super) fn answers(&mut self) {
        self.backoff.on_success();
    }

    /// An attempt succeeded.
    pub(super) fn ends(&mut self, what: &str) {
        if std::mem::take(&mut self.has_failed) {
            tracing::info!("{what}");
        }
        self.backoff.on_success();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_second_and_begin_anew_after_a_success() {
        let mut outage = Outage::none();
        let pauses: Vec<_> = (0..7).map(|_| outage.goes_on("away", &"why", 0.0).as_millis()).collect();
        assert_eq!([50, 100, 200, 400, 800, 1_000, 1_000], pauses[..]);
        outage.answers();
        assert_eq!(50, outage.goes_on("away", &"why", 0.0).as_millis());
        assert_eq!(100, outage.goes_on("away", &"why", 0.0).as_millis());
        outage.ends("back");
        assert_eq!(50, outage.goes_on("away", &"why", 0.0).as_millis());
    }
}
