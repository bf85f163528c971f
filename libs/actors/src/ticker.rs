//! Computes when a periodic actor ticks next.

use std::time::Duration;

/// Ticks of one period with a phase of their own.
///
/// An actor schedules its next tick after the work of the last one
/// (`myself.send_after(ticker.until_next(now), …)`). Work that takes longer than a period therefore skips
/// ticks instead of queueing them, and actors with different phases stay apart.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    period_ns: u64,
    phase_ns: u64,
}

impl Ticker {
    /// Creates ticks that are `period` apart (1 ns if it is zero). `key` determines the phase: keys that are
    /// spread out, such as hashes, give phases that are spread out.
    pub fn new(period: Duration, key: u64) -> Self {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        let spread = (u128::from(key) * u128::from(period_ns)) >> u64::BITS;
        Self { period_ns, phase_ns: spread as u64 }
    }

    /// Returns the time from `now` to the next tick after it. `now` is measured from a moment that all
    /// tickers share.
    pub fn until_next(&self, now: Duration) -> Duration {
        let period = u128::from(self.period_ns);
        let into_period = (now.as_nanos() + period - u128::from(self.phase_ns)) % period;
        Duration::from_nanos((period - into_period) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    #[test]
    fn phases_are_spread_over_the_period() {
        let first = |key| Ticker::new(PERIOD, key).until_next(Duration::ZERO);
        assert_eq!(first(0), PERIOD);
        assert_eq!(first(u64::MAX / 2 + 1), PERIOD / 2);
        assert!(first(u64::MAX) < PERIOD);
    }

    proptest! {
        #[test]
        fn next_tick_is_within_a_period_and_on_one_grid(key in any::<u64>(), now_ns in 0..u64::MAX / 4, work_ns in 0..10_000_000_000u64) {
            let ticker = Ticker::new(PERIOD, key);
            let now = Duration::from_nanos(now_ns);
            let tick = now + ticker.until_next(now);
            prop_assert!(tick > now && tick <= now + PERIOD);
            let after_work = tick + Duration::from_nanos(work_ns);
            let next = after_work + ticker.until_next(after_work);
            prop_assert!(next > after_work);
            prop_assert_eq!((next - tick).as_nanos() % PERIOD.as_nanos(), 0);
        }
    }
}
