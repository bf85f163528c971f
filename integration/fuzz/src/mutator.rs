//! Generates inputs by random changes of seeds.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// The longest input, in bytes.
const MAX_BYTES: usize = 1 << 16;

/// Generates inputs by random changes of seeds. The same seed number generates the same inputs.
#[derive(Debug)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    dictionary: &'static [&'static str],
    rng: SmallRng,
}

impl Mutator {
    /// Creates a mutator that changes `seeds` and inserts strings of `dictionary`.
    pub fn new(seeds: Vec<Vec<u8>>, dictionary: &'static [&'static str], seed: u64) -> Self {
        Self { seeds, dictionary, rng: SmallRng::seed_from_u64(seed) }
    }

    /// Returns the next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut data = self.seeds.choose(&mut self.rng).cloned().unwrap_or_default();
        for _ in 0..self.rng.random_range(0..8) {
            self.change(&mut data);
        }
        data.truncate(MAX_BYTES);
        data
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let at = self.rng.random_range(0..=data.len());
        let end = self.rng.random_range(at..=data.len().min(at + 64));
        match self.rng.random_range(0..7) {
            0 => data.insert(at, self.rng.random()),
            1 => drop(data.drain(at..end)),
            2 => data.truncate(at),
            3 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << self.rng.random_range(0..8);
                }
            }
            4 => {
                let copy = data[at..end].to_vec();
                let times = self.rng.random_range(1..16);
                data.splice(at..at, copy.repeat(times));
            }
            5 => {
                let other = self.seeds.choose(&mut self.rng).map_or(&[][..], Vec::as_slice);
                let from = self.rng.random_range(0..=other.len());
                data.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let word = self.dictionary.choose(&mut self.rng).copied().unwrap_or_default();
                data.splice(at..at, word.bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, Mutator};

    #[test]
    fn inputs_are_reproducible_and_bounded() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(vec![b"abc".to_vec(), vec![7; 3]], &["word"], seed);
            (0..1_000).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().all(|data| data.len() <= MAX_BYTES));
    }
}
