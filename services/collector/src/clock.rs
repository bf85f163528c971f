//! The collector's monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// Measures the time since the collector started. The values mean nothing to other processes, so messages
/// carry ages instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns `time` in whole milliseconds.
pub(crate) fn as_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
