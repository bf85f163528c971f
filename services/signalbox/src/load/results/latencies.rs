//! Distributions of times.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A histogram of times in microseconds, up to an hour, with a precision of three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid"))
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns how many times were measured.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the mean in milliseconds.
    pub(crate) fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    /// Returns a quantile (0 to 1) in milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // an hour in microseconds is exact in an f64
        let value = self.0.value_at_quantile(quantile) as f64;
        value / 1_000.0
    }
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// Returns the distribution of `times`; `None` if there are none.
    pub(crate) fn of(times: &Latencies) -> Option<Self> {
        (times.count() > 0).then(|| Self {
            mean: times.mean_ms(),
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p99: times.quantile_ms(0.99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_precise_to_three_digits(mut times in proptest::collection::vec(1_u64..1_000_000, 1..200)) {
            let mut latencies = Latencies::default();
            times.iter().for_each(|micros| latencies.add(Duration::from_micros(*micros)));
            times.sort_unstable();
            let exact = times[(times.len() * 9).div_ceil(10) - 1] as f64 / 1_000.0;
            let measured = latencies.quantile_ms(0.9);
            prop_assert!((measured - exact).abs() <= exact * 0.001 + 0.001, "{measured} for {exact}");
        }
    }
}
