//! Which LoRA adapter each request names: few are asked for often, many seldom. Pure.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Adapters that are asked for by Zipf's law with exponent 1: the second half as often as the first, the third a
/// third as often.
#[derive(Clone, Debug)]
pub(super) struct Adapters {
    seed: u64,
    /// Of each adapter, its weight and those of all before it.
    cumulative: Vec<f64>,
}

impl Adapters {
    /// So many adapters, at least 1.
    pub(super) fn new(seed: u64, count: u32) -> Self {
        let weights = (1..=count).map(|rank| 1.0 / f64::from(rank));
        let running = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { seed, cumulative: running.collect() }
    }

    /// The name that request number `index` asks for.
    pub(super) fn name(&self, index: u64) -> String {
        let stream = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index;
        let drawn: f64 = SmallRng::seed_from_u64(!stream).random();
        let wanted = drawn * self.cumulative.last().copied().unwrap_or_default();
        adapter(self.cumulative.partition_point(|sum| *sum <= wanted))
    }

    /// What a report calls them.
    pub(super) fn label(&self) -> String {
        format!("{} to {}", adapter(0), adapter(self.cumulative.len().saturating_sub(1)))
    }
}

/// The names that simulated model servers give their adapters.
fn adapter(number: usize) -> String {
    format!("adapter-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn adapters_are_asked_for_in_inverse_proportion_to_their_rank() {
        let adapters = Adapters::new(1, 4);
        let mut counts = BTreeMap::new();
        for index in 0..24_000 {
            *counts.entry(adapters.name(index)).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["adapter-0", "adapter-1", "adapter-2", "adapter-3"]);
        for (rank, count) in (1..).zip(counts.values()) {
            // Of the sum 1 + 1/2 + 1/3 + 1/4 = 25/12.
            let expected = 24_000 * 12 / 25 / rank;
            assert!((count - expected).abs() < expected / 10, "{count} for {expected}");
        }
        assert_eq!(adapters.name(7), Adapters::new(1, 4).name(7));
        assert!((0..50).any(|index| adapters.name(index) != Adapters::new(2, 4).name(index)));
    }

    #[test]
    fn a_single_adapter_is_always_asked_for() {
        let one = Adapters::new(9, 1);
        assert!((0..100).all(|index| one.name(index) == "adapter-0"));
        assert_eq!(one.label(), "adapter-0 to adapter-0");
    }
}
