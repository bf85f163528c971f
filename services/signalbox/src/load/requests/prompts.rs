//! Generates prompts from a seed. The profile determines which prompts share a prefix.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use signalbox_workload::{Author, Prompt, Segment};

/// The sizes of prompts and what they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PromptShape {
    pub(crate) sharing: Sharing,
    /// Number of groups, at least 1.
    pub(crate) groups: u64,
    pub(crate) shared_tokens: u32,
    pub(crate) question_tokens: u32,
}

/// Which prompts share their first part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Prompts of the same group.
    Groups,
    /// No prompts.
    None,
}

/// Generates the prompts of a run by index: instructions, which other prompts can share, and a question, which none does. The
/// same seed and shape give the same prompts.
#[derive(Clone, Debug)]
pub(crate) struct PromptGenerator {
    seed: u64,
    shape: PromptShape,
}

/// Separates the random streams of groups, questions and orders.
#[derive(Clone, Copy)]
enum Purpose {
    Group,
    Question,
    Order,
}

impl PromptGenerator {
    /// Creates the generator for a seed.
    pub(crate) fn new(seed: u64, shape: PromptShape) -> Self {
        Self { seed, shape }
    }

    /// Returns the prompt with this index. Prompts come in rounds with one new question for each group, in a
    /// random order per round.
    pub(crate) fn prompt(&self, index: u64) -> Prompt {
        let group = match self.shape.sharing {
            Sharing::Groups => self.group(index),
            Sharing::None => index,
        };
        self.prompt_of_group(index, group)
    }

    /// Returns the prompt with this index, which is one of `group`.
    pub(crate) fn prompt_of_group(&self, index: u64, group: u64) -> Prompt {
        let segment = |author, purpose, number, tokens| {
            let content = self.rng(purpose, number).random();
            Segment { author, content, tokens }
        };
        Prompt::new([
            segment(Author::System, Purpose::Group, group, self.shape.shared_tokens),
            segment(Author::User, Purpose::Question, index, self.shape.question_tokens),
        ])
    }

    /// Returns the group of the prompt with this index.
    fn group(&self, index: u64) -> u64 {
        let mut order: Vec<u64> = (0..self.shape.groups).collect();
        order.shuffle(&mut self.rng(Purpose::Order, index / self.shape.groups));
        let position = usize::try_from(index % self.shape.groups).expect("an index into an existing list");
        order[position]
    }

    fn rng(&self, purpose: Purpose, number: u64) -> SmallRng {
        // Odd multipliers separate neighboring numbers and seeds; SmallRng mixes the rest.
        let stream = number.wrapping_mul(3).wrapping_add(purpose as u64);
        SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    fn shape(sharing: Sharing, groups: u64) -> PromptShape {
        PromptShape { sharing, groups, shared_tokens: 20, question_tokens: 10 }
    }

    /// Returns the texts of the instructions and of the question.
    fn parts(prompt: &Prompt) -> (String, String) {
        let text = prompt.text();
        (text[..80].to_owned(), text[80..].to_owned())
    }

    proptest! {
        #[test]
        fn prompts_depend_only_on_the_seed(seed: u64, index in 0_u64..1_000) {
            let shape = shape(Sharing::Groups, 7);
            let prompt = PromptGenerator::new(seed, shape).prompt(index);
            prop_assert_eq!(&prompt, &PromptGenerator::new(seed, shape).prompt(index));
            prop_assert_ne!(&prompt, &PromptGenerator::new(seed.wrapping_add(1), shape).prompt(index));
            prop_assert_eq!(prompt.tokens(), 30);
        }

        #[test]
        fn every_group_gets_equally_many_new_questions(seed: u64, groups in 1_u64..9, rounds in 1_u64..5) {
            let generator = PromptGenerator::new(seed, shape(Sharing::Groups, groups));
            let prompts: Vec<_> = (0..groups * rounds).map(|index| parts(&generator.prompt(index))).collect();
            let mut counts = HashMap::new();
            for (shared, _) in &prompts {
                *counts.entry(shared).or_insert(0) += 1;
            }
            prop_assert_eq!(counts.len() as u64, groups);
            prop_assert!(counts.values().all(|count| *count == rounds));
            let questions: HashSet<_> = prompts.iter().map(|(_, question)| question).collect();
            prop_assert_eq!(questions.len(), prompts.len());
        }

        #[test]
        fn unique_prompts_share_no_prefix(seed: u64) {
            let generator = PromptGenerator::new(seed, shape(Sharing::None, 2));
            let starts: HashSet<_> = (0..50).map(|index| generator.prompt(index).text()[..16].to_owned()).collect();
            prop_assert_eq!(starts.len(), 50);
        }
    }
}
