//! Chooses the LoRA adapter of each request: a few adapters get most requests. Pure.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::generate::zipf;

/// Adapters requested by Zipf's law with exponent 1: the second half as often as the first, the third a third
/// as often.
#[derive(Clone, Debug)]
pub(crate) struct Adapters {
    seed: u64,
    count: usize,
}

impl Adapters {
    /// Creates `count` adapters, at least 1.
    pub(crate) fn new(seed: u64, count: u32) -> Self {
        Self { seed, count: count as usize }
    }

    /// Returns the adapter that the request with this index names.
    pub(crate) fn name(&self, index: u64) -> String {
        let stream = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index;
        adapter(zipf(self.count, &mut SmallRng::seed_from_u64(!stream)))
    }

    /// Returns the label of the adapters in the report.
    pub(crate) fn label(&self) -> String {
        format!("{} to {}", adapter(0), adapter(self.count.saturating_sub(1)))
    }
}

/// Returns the name of an adapter, as simulated model servers name them.
fn adapter(number: usize) -> String {
    format!("adapter-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn adapters_are_requested_in_inverse_proportion_to_their_rank() {
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
    fn a_single_adapter_gets_every_request() {
        let one = Adapters::new(9, 1);
        assert!((0..100).all(|index| one.name(index) == "adapter-0"));
        assert_eq!(one.label(), "adapter-0 to adapter-0");
    }
}
