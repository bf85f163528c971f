//! The highest epoch that a collector has seen.

use std::sync::atomic::{AtomicU64, Ordering};

/// The highest epoch that this collector has received on any stream.
#[derive(Debug, Default)]
pub(crate) struct HighestEpoch(AtomicU64);

impl HighestEpoch {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Records `epoch` and returns whether it is current, that is, no higher one was received.
    pub(crate) fn record(&self, epoch: u64) -> bool {
        self.0.fetch_max(epoch, Ordering::Relaxed) <= epoch
    }
}
