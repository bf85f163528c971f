//! Other bytes, made of some.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// What is made is at most so long.
const LONGEST: usize = 1 << 16;

/// Makes bytes by changing others at random, but the same ones for the same seed.
#[derive(Debug)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static str],
    dice: SmallRng,
}

impl Mutator {
    /// Makes them of `seeds` and `words`.
    pub fn new(seeds: Vec<Vec<u8>>, words: &'static [&'static str], seed: u64) -> Self {
        Self { seeds, words, dice: SmallRng::seed_from_u64(seed) }
    }

    /// The next ones.
    pub fn make(&mut self) -> Vec<u8> {
        let mut data = self.seeds.choose(&mut self.dice).cloned().unwrap_or_default();
        for _ in 0..self.dice.random_range(0..8) {
            self.change(&mut data);
        }
        data.truncate(LONGEST);
        data
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let at = self.dice.random_range(0..=data.len());
        let end = self.dice.random_range(at..=data.len().min(at + 64));
        match self.dice.random_range(0..7) {
            0 => data.insert(at, self.dice.random()),
            1 => drop(data.drain(at..end)),
            2 => data.truncate(at),
            3 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << self.dice.random_range(0..8);
                }
            }
            4 => {
                let copy = data[at..end].to_vec();
                let times = self.dice.random_range(1..16);
                data.splice(at..at, copy.repeat(times));
            }
            5 => {
                let other = self.seeds.choose(&mut self.dice).map_or(&[][..], Vec::as_slice);
                let from = self.dice.random_range(0..=other.len());
                data.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let word = self.words.choose(&mut self.dice).copied().unwrap_or_default();
                data.splice(at..at, word.bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Mutator};

    #[test]
    fn one_seed_makes_the_same_again_and_nothing_too_long() {
        let made = |seed| {
            let mut mutator = Mutator::new(vec![b"abc".to_vec(), vec![7; 3]], &["word"], seed);
            (0..1_000).map(|_| mutator.make()).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!(made(1).iter().all(|data| data.len() <= LONGEST));
    }
}
