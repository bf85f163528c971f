//! The figures of a round.

/// Times of lookups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookups {
    /// Nanoseconds of each lookup, and the sum of its scores.
    times: Vec<(u64, u64)>,
}

impl Lookups {
    /// Names of the figures.
    pub(crate) const FIGURES: [&str; 5] =
        ["lookup mean, ns", "lookup p50", "lookup p99", "hits only: mean, ns", "hits only: p50"];

    pub(crate) fn with_capacity(lookups: usize) -> Self {
        Self { times: Vec::with_capacity(lookups) }
    }

    pub(crate) fn push(&mut self, elapsed_ns: u64, score_sum: u64) {
        self.times.push((elapsed_ns, score_sum));
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.times.extend_from_slice(&other.times);
    }

    /// Returns the sum of the scores of each lookup.
    pub(crate) fn sums(&self) -> impl Iterator<Item = u64> {
        self.times.iter().map(|(_, sum)| *sum)
    }

    /// Returns the values of [`Self::FIGURES`]. A lookup is a hit if any worker holds a block of the prompt.
    pub(crate) fn figures(&self) -> Vec<f64> {
        let mut all: Vec<u64> = self.times.iter().map(|(elapsed_ns, _)| *elapsed_ns).collect();
        let hits = self.times.iter().filter(|(_, sum)| *sum > 0);
        let mut hits: Vec<u64> = hits.map(|(elapsed_ns, _)| *elapsed_ns).collect();
        all.sort_unstable();
        hits.sort_unstable();
        vec![mean(&all), quantile(&all, 0.5), quantile(&all, 0.99), mean(&hits), quantile(&hits, 0.5)]
    }
}

fn mean(values: &[u64]) -> f64 {
    values.iter().sum::<u64>() as f64 / values.len().max(1) as f64
}

fn quantile(sorted: &[u64], part: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1) as f64 * part) as usize;
    sorted.get(at).copied().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_lookups_that_found_a_block() {
        let mut lookups = Lookups::default();
        [(10, 0), (30, 2), (50, 1)].into_iter().for_each(|(ns, sum)| lookups.push(ns, sum));
        assert_eq!(vec![30.0, 30.0, 30.0, 40.0, 30.0], lookups.figures());
    }
}
