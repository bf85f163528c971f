//! Histograms with vLLM's buckets.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bucket bounds in seconds for the time to first token. One further bucket holds longer times.
pub(crate) const FIRST_TOKEN_BOUNDS: [f64; MAX_BOUNDS] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

/// Upper bucket bounds in seconds for the time between two tokens.
pub(crate) const INTER_TOKEN_BOUNDS: [f64; 19] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];

/// Upper bucket bounds in seconds for the time from arrival to the last token.
pub(crate) const REQUEST_BOUNDS: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

/// Upper bucket bounds for the tokens of a request. A page shows those up to the longest possible request.
pub(crate) const TOKEN_BOUNDS: [f64; MAX_BOUNDS] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6,
    2e6, 5e6, 1e7,
];

const MAX_BOUNDS: usize = 22;

/// Counts of observations per bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// Not cumulative. The bucket after the last bound counts the values that exceed every bound.
    counts: [u64; MAX_BOUNDS + 1],
    sum: f64,
}

impl Histogram {
    /// Creates an empty histogram. `bounds` must be ascending and no longer than
    /// [`FIRST_TOKEN_BOUNDS`].
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: [0; MAX_BOUNDS + 1], sum: 0.0 }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Returns the histogram with the bounds up to `greatest`.
    pub(crate) fn up_to(&self, greatest: f64) -> Self {
        let kept = self.bounds.partition_point(|&bound| bound <= greatest);
        let mut counts = [0; MAX_BOUNDS + 1];
        counts[..kept].copy_from_slice(&self.counts[..kept]);
        counts[kept] = self.counts[kept..].iter().sum();
        Self { bounds: &self.bounds[..kept], counts, sum: self.sum }
    }

    /// Returns the upper bound of each bucket with the number of observations in it.
    fn buckets(&self) -> Vec<(f64, u64)> {
        self.bounds.iter().copied().chain([f64::INFINITY]).zip(self.counts).collect()
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_TOKEN_BOUNDS, Histogram, INTER_TOKEN_BOUNDS};

    #[test]
    fn bounds_are_inclusive_and_those_beyond_the_greatest_are_merged() {
        let mut histogram = Histogram::new(&FIRST_TOKEN_BOUNDS);
        for seconds in [0.001, 0.03, 1e9] {
            histogram.observe(seconds);
        }
        let filled = |histogram: &Histogram| {
            histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        assert_eq!(vec![(0.001, 1), (0.04, 1), (f64::INFINITY, 1)], filled(&histogram));
        assert_eq!(vec![(0.001, 1), (f64::INFINITY, 2)], filled(&histogram.up_to(0.02)));
        assert_eq!(histogram, histogram.up_to(f64::INFINITY));
        let mut histogram = Histogram::new(&INTER_TOKEN_BOUNDS);
        histogram.observe(80.5);
        assert_eq!(vec![(f64::INFINITY, 1)], filled(&histogram));
    }
}
