//! Pickers: how one of the scored candidates is chosen.

use rand::Rng;
use serde::{Deserialize, Serialize};

/// How one of the candidates is chosen by their totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picker {
    /// The candidate with the highest total; at random among equals.
    #[default]
    MaxScore,
    /// Any candidate at random, regardless of its total.
    Random,
    /// Each candidate with the probability total ÷ sum of totals; any candidate at random, if no total is
    /// above 0.
    WeightedRandom,
}

impl Picker {
    /// Returns the index of the chosen total. `totals` must not be empty.
    pub(super) fn pick(self, totals: &[f64], rng: &mut impl Rng) -> usize {
        match self {
            Self::MaxScore => max_score(totals, rng),
            Self::Random => rng.random_range(0..totals.len()),
            Self::WeightedRandom if totals.iter().any(|total| *total > 0.0) => weighted(totals, rng),
            Self::WeightedRandom => rng.random_range(0..totals.len()),
        }
    }
}

fn max_score(totals: &[f64], rng: &mut impl Rng) -> usize {
    let best = totals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let drawn = rng.random_range(0..totals.iter().filter(|total| **total == best).count().max(1));
    let mut equals = (0..totals.len()).filter(|index| totals[*index] == best);
    equals.nth(drawn).unwrap_or(0)
}

/// Weighted random sampling (A-Res) of one candidate: the greatest U^(1/total), compared by its logarithm,
/// which does not underflow.
fn weighted(totals: &[f64], rng: &mut impl Rng) -> usize {
    let mut winner = (0, f64::NEG_INFINITY);
    for (index, total) in totals.iter().enumerate().filter(|(_, total)| **total > 0.0) {
        // The random number is in (0, 1], so its logarithm is finite.
        let key = (1.0 - rng.random::<f64>()).ln() / total;
        if key > winner.1 || winner.1 == f64::NEG_INFINITY {
            winner = (index, key);
        }
    }
    winner.0
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    /// Returns the share of `draws` in which each candidate is picked.
    fn shares(picker: Picker, totals: &[f64], draws: u32) -> Vec<f64> {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = vec![0; totals.len()];
        (0..draws).for_each(|_| counts[picker.pick(totals, &mut rng)] += 1);
        counts.into_iter().map(|count| f64::from(count) / f64::from(draws)).collect()
    }

    fn assert_near(expected: &[f64], shares: &[f64]) {
        let near = expected.iter().zip(shares).all(|(one, other)| (one - other).abs() < 0.02);
        assert!(near, "{expected:?} {shares:?}");
    }

    #[test]
    fn highest_total_wins_and_ties_are_random() {
        assert_near(&[0.0, 0.5, 0.0, 0.5], &shares(Picker::MaxScore, &[1.0, 2.0, 1.5, 2.0], 10_000));
        assert_near(&[0.5, 0.5], &shares(Picker::MaxScore, &[0.0, 0.0], 10_000));
        assert_near(&[1.0], &shares(Picker::MaxScore, &[0.0], 10));
    }

    #[test]
    fn random_ignores_totals() {
        assert_near(&[0.25; 4], &shares(Picker::Random, &[0.0, 9.0, 1.0, 1.0], 20_000));
    }

    #[test]
    fn probability_is_proportional_to_total() {
        assert_near(&[0.1, 0.0, 0.3, 0.6], &shares(Picker::WeightedRandom, &[0.5, 0.0, 1.5, 3.0], 20_000));
        assert_near(&[0.25, 0.75], &shares(Picker::WeightedRandom, &[1e-300, 3e-300], 20_000));
        assert_near(&[0.0, 0.0, 1.0], &shares(Picker::WeightedRandom, &[0.0, 0.0, 1e-9], 100));
        assert_near(&[1.0 / 3.0; 3], &shares(Picker::WeightedRandom, &[0.0; 3], 20_000));
    }
}
