//! The highest epoch that a collector has seen.

use std::sync::{Mutex, MutexGuard, PoisonError};

use signalbox_types::KnownEpoch;

/// How the epoch of a message relates to what this collector knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochStatus {
    /// No higher epoch was received.
    Current,
    /// A later owner was heard.
    Outdated,
    /// The epoch cannot be genuine. It is ignored.
    Refused {
        /// Whether it is the first one.
        is_first: bool,
    },
}

/// The highest epoch that this collector has received on any stream.
#[derive(Debug, Default)]
pub(crate) struct HighestEpoch(Mutex<KnownEpoch>);

impl HighestEpoch {
    pub(crate) fn get(&self) -> u64 {
        self.known().highest()
    }

    /// Records the epoch of a message.
    pub(crate) fn record(&self, epoch: u64) -> EpochStatus {
        let mut known = self.known();
        if !known.hear(epoch) {
            return EpochStatus::Refused { is_first: known.refused() == 1 };
        }
        if known.highest() <= epoch { EpochStatus::Current } else { EpochStatus::Outdated }
    }

    fn known(&self) -> MutexGuard<'_, KnownEpoch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_epoch_changes_nothing() {
        let highest = HighestEpoch::default();
        assert_eq!(EpochStatus::Current, highest.record(7));
        assert_eq!(EpochStatus::Refused { is_first: true }, highest.record(u64::MAX));
        assert_eq!(EpochStatus::Refused { is_first: false }, highest.record(u64::MAX - 9));
        assert_eq!(7, highest.get());
        assert_eq!(EpochStatus::Current, highest.record(8));
        assert_eq!(EpochStatus::Outdated, highest.record(7));
    }
}
