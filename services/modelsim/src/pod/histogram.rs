//! Histograms with vLLM's buckets.

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

    /// Returns each bound with the number of observations up to it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let running = self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        self.bounds.iter().copied().zip(running)
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_TOKEN_BOUNDS, Histogram, INTER_TOKEN_BOUNDS};

    #[test]
    fn counts_are_cumulative_and_bounds_inclusive() {
        let mut histogram = Histogram::new(&FIRST_TOKEN_BOUNDS);
        for seconds in [0.001, 0.03, 1e9] {
            histogram.observe(seconds);
        }
        let cumulative: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!((cumulative[0], cumulative[3], cumulative[4], cumulative[21]), (1, 1, 2, 2));
        assert_eq!(histogram.count(), 3);
        let mut histogram = Histogram::new(&INTER_TOKEN_BOUNDS);
        histogram.observe(80.5);
        assert_eq!((histogram.cumulative().last(), histogram.count()), (Some((80.0, 0)), 1));
    }
}
