//! Prompts made from a seed, with as much in common as the profile says.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// What a token is taken to be, without a tokenizer.
const BYTES_PER_TOKEN: usize = 4;

/// What prompts look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) sharing: Sharing,
    /// At least 1.
    pub(super) groups: u64,
    pub(super) shared_tokens: u32,
    pub(super) question_tokens: u32,
}

/// Which prompts have their first part in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Those of the same group.
    Groups,
    /// None.
    Nothing,
}

/// A prompt in two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The instructions, which other prompts may have too; empty if there are none.
    pub(super) shared: String,
    /// What only this one asks.
    pub(super) question: String,
}

/// All prompts of a run, by their number. The same seed and shape make the same prompts.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    seed: u64,
    shape: Shape,
}

/// Keeps the random texts of groups, questions and orders apart.
#[derive(Clone, Copy)]
enum Purpose {
    Group,
    Question,
    Order,
}

impl Workload {
    /// The workload of a seed.
    pub(super) fn new(seed: u64, shape: Shape) -> Self {
        Self { seed, shape }
    }

    /// Prompt number `index`. Each round of as many prompts as there are groups asks every group once, in an
    /// order of its own, with a question that was never asked before.
    pub(super) fn prompt(&self, index: u64) -> Prompt {
        let family = match self.shape.sharing {
            Sharing::Groups => self.group(index),
            Sharing::Nothing => index,
        };
        Prompt {
            shared: text(&mut self.rng(Purpose::Group, family), self.shape.shared_tokens),
            question: text(&mut self.rng(Purpose::Question, index), self.shape.question_tokens),
        }
    }

    /// Which group prompt number `index` belongs to.
    fn group(&self, index: u64) -> u64 {
        let mut order: Vec<u64> = (0..self.shape.groups).collect();
        order.shuffle(&mut self.rng(Purpose::Order, index / self.shape.groups));
        let place = usize::try_from(index % self.shape.groups).expect("a place in a list that exists");
        order[place]
    }

    fn rng(&self, purpose: Purpose, number: u64) -> SmallRng {
        // Odd multipliers keep neighbouring numbers and seeds apart; SmallRng mixes the rest.
        let stream = number.wrapping_mul(3).wrapping_add(purpose as u64);
        SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream)
    }
}

/// Words of three letters and a space: one token each.
fn text(rng: &mut SmallRng, tokens: u32) -> String {
    let mut text = String::with_capacity(tokens as usize * BYTES_PER_TOKEN);
    for _ in 0..tokens {
        for _ in 1..BYTES_PER_TOKEN {
            text.push(char::from(rng.random_range(b'a'..=b'z')));
        }
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    fn shape(sharing: Sharing, groups: u64) -> Shape {
        Shape { sharing, groups, shared_tokens: 20, question_tokens: 10 }
    }

    proptest! {
        #[test]
        fn a_seed_makes_the_same_prompts_and_another_others(seed: u64, index in 0_u64..1_000) {
            let shape = shape(Sharing::Groups, 7);
            let prompt = Workload::new(seed, shape).prompt(index);
            prop_assert_eq!(&prompt, &Workload::new(seed, shape).prompt(index));
            prop_assert_ne!(&prompt, &Workload::new(seed.wrapping_add(1), shape).prompt(index));
            prop_assert_eq!(prompt.shared.len(), 80);
            prop_assert_eq!(prompt.question.len(), 40);
        }

        #[test]
        fn every_group_gets_the_same_number_of_new_questions(seed: u64, groups in 1_u64..9, rounds in 1_u64..5) {
            let workload = Workload::new(seed, shape(Sharing::Groups, groups));
            let prompts: Vec<_> = (0..groups * rounds).map(|index| workload.prompt(index)).collect();
            let mut counts = HashMap::new();
            for prompt in &prompts {
                *counts.entry(&prompt.shared).or_insert(0) += 1;
            }
            prop_assert_eq!(counts.len() as u64, groups);
            prop_assert!(counts.values().all(|count| *count == rounds));
            let questions: HashSet<_> = prompts.iter().map(|prompt| &prompt.question).collect();
            prop_assert_eq!(questions.len(), prompts.len());
        }

        #[test]
        fn unique_prompts_share_no_first_part(seed: u64) {
            let workload = Workload::new(seed, shape(Sharing::Nothing, 2));
            let shared: HashSet<_> = (0..50).map(|index| workload.prompt(index).shared[..16].to_owned()).collect();
            prop_assert_eq!(shared.len(), 50);
        }
    }
}
