//! Epochs of an aggregator that is alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Mints epochs: each is above all minted or heard before, and not below the wall clock in milliseconds, so that a restart
/// never repeats one.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    highest: AtomicU64,
}

impl Epochs {
    /// An epoch above all before.
    pub(crate) fn next(&self) -> u64 {
        let wall_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.heard(wall_ms);
        self.highest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Somebody knows of `epoch`.
    pub(crate) fn heard(&self, epoch: u64) {
        self.highest.fetch_max(epoch, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_above_all_before() {
        let epochs = Epochs::default();
        let first = epochs.next();
        assert!(epochs.next() > first);
        epochs.heard(u64::MAX / 2);
        assert!(epochs.next() > u64::MAX / 2);
    }
}
