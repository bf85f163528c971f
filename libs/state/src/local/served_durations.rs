//! How long served requests take, by which requests that were answered with an error are kept in decisions.

use std::sync::atomic::{AtomicU64, Ordering};

/// The weight of the latest duration in the mean, as a divisor.
const LATEST_DIVISOR: u64 = 16;

/// The maximum time for which an unserved request counts, in microseconds.
const MAX_UNSERVED_US: u64 = 60_000_000;

/// The mean duration of this process's served requests.
#[derive(Debug, Default)]
pub struct ServedDurations {
    /// In microseconds; 0 until the first one.
    mean_us: AtomicU64,
}

impl ServedDurations {
    /// Records how long a served request took, in microseconds.
    pub fn record(&self, duration_us: u64) {
        let update = |mean_us: u64| match mean_us {
            0 => Some(duration_us),
            _ => Some(mean_us - mean_us / LATEST_DIVISOR + duration_us / LATEST_DIVISOR),
        };
        // Always succeeds, because every value is updated.
        let _ = self.mean_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Returns for how long after its decision an unserved request counts, in microseconds: as long as it was
    /// expected to take or as served ones take, but at most a minute.
    pub fn unserved_us(&self, expected_us: u64) -> u64 {
        expected_us.max(self.mean_us.load(Ordering::Relaxed)).min(MAX_UNSERVED_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unserved_request_counts_as_long_as_served_ones_take_but_at_most_a_minute() {
        let durations = ServedDurations::default();
        assert_eq!(1_000, durations.unserved_us(1_000));
        (0..100).for_each(|_| durations.record(8_000_000));
        assert!(durations.unserved_us(1_000).abs_diff(8_000_000) < 1_000);
        assert_eq!(9_000_000, durations.unserved_us(9_000_000));
        (0..100).for_each(|_| durations.record(u64::MAX / 2));
        assert_eq!(MAX_UNSERVED_US, durations.unserved_us(0));
    }
}
