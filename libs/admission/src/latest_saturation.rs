//! The latest saturation of the pool, so that not every request computes it.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a computed saturation is used, in milliseconds.
const MAX_AGE_MS: u64 = 5;

/// The saturation of the pool and when it was computed.
#[derive(Debug)]
pub struct LatestSaturation {
    at_ms: AtomicU64,
    /// The bits of an `f64`.
    value: AtomicU64,
}

impl Default for LatestSaturation {
    fn default() -> Self {
        Self { at_ms: AtomicU64::new(u64::MAX), value: AtomicU64::new(0) }
    }
}

impl LatestSaturation {
    /// Returns the saturation, which is computed if the latest one is more than [`MAX_AGE_MS`] old. Concurrent requests may
    /// compute it more than once.
    pub fn at(&self, now_ms: u64, compute: impl FnOnce() -> f64) -> f64 {
        let at_ms = self.at_ms.load(Ordering::Acquire);
        if at_ms <= now_ms && now_ms - at_ms < MAX_AGE_MS {
            return f64::from_bits(self.value.load(Ordering::Relaxed));
        }
        let value = compute();
        self.value.store(value.to_bits(), Ordering::Relaxed);
        self.at_ms.store(now_ms, Ordering::Release);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_is_computed_again_when_it_is_old() {
        let latest = LatestSaturation::default();
        assert_eq!(0.5, latest.at(0, || 0.5));
        assert_eq!(0.5, latest.at(MAX_AGE_MS - 1, || panic!("it is recent")));
        assert_eq!(0.7, latest.at(MAX_AGE_MS, || 0.7));
    }
}
