//! A histogram with the buckets vLLM uses for the time to the first token.

/// Upper bounds of the buckets in seconds; one more bucket holds what is longer.
pub(crate) const BOUNDS_SECONDS: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

/// Counts of observations by bucket.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Histogram {
    /// Not cumulative; the last one is for what exceeds every bound.
    counts: [u64; BOUNDS_SECONDS.len() + 1],
    sum_seconds: f64,
}

impl Histogram {
    pub(crate) fn observe(&mut self, seconds: f64) {
        let bucket = BOUNDS_SECONDS.partition_point(|&bound| bound < seconds);
        self.counts[bucket] += 1;
        self.sum_seconds += seconds;
    }

    /// Observations up to each bound.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let running = self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        BOUNDS_SECONDS.into_iter().zip(running)
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn buckets_are_cumulative_and_bounds_inclusive() {
        let mut histogram = Histogram::default();
        for seconds in [0.001, 0.03, 1e9] {
            histogram.observe(seconds);
        }
        let cumulative: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!((cumulative[0], cumulative[3], cumulative[4], cumulative[21]), (1, 1, 2, 2));
        assert_eq!(histogram.count(), 3);
    }
}
