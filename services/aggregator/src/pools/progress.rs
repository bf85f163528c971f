//! Whether a pool's actor makes progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For how long a pool's actor may finish no message. Then the pool has stalled: this aggregator does not renew its
/// lease while it owns the pool, and is not healthy.
///
/// The longest legitimate message, a takeover of a large pool, takes less than a hundred milliseconds, and an idle
/// actor handles a tick every 100 ms. The shortest lease lasts two seconds.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(1);

/// When a pool's actor last finished a message.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    /// Milliseconds from `started`.
    last_ms: AtomicU64,
}

impl Progress {
    /// Counts as progress just now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// Records that the actor has finished a message, or starts.
    pub(crate) fn record(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Returns how long ago the actor last finished a message.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    /// Returns for how long the actor has finished no message, if that is too long.
    pub(crate) fn stalled_for(&self) -> Option<Duration> {
        Some(self.age()).filter(|age| *age >= STALL_LIMIT)
    }

    fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_ends_a_stall() {
        let earlier =
            Instant::now().checked_sub(STALL_LIMIT).expect("the machine runs for longer than the limit");
        let progress = Progress { started: earlier, last_ms: AtomicU64::new(0) };
        assert!(progress.stalled_for().is_some_and(|age| age >= STALL_LIMIT));
        progress.record();
        assert!(progress.age() < STALL_LIMIT && progress.stalled_for().is_none());
    }
}
