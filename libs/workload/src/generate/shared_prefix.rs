//! Groups of prompts that share a long prefix.

use rand::Rng;
use rand::seq::SliceRandom;

use super::{item, uniform_around, unique_segment};
use crate::arrivals::poisson;
use crate::{Author, Item, Segment};

/// Groups of prompts with a shared prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPrefix {
    /// Number of groups.
    pub groups: u32,
    /// Prompts per group.
    pub prompts_per_group: u32,
    /// Tokens of the system prompt that the prompts of a group share.
    pub shared_tokens: u32,
    /// Tokens of each prompt that no other prompt has.
    pub unique_tokens: u32,
    /// Mean number of output tokens.
    pub output_tokens: u32,
}

impl Default for SharedPrefix {
    fn default() -> Self {
        Self {
            groups: 150,
            prompts_per_group: 8,
            shared_tokens: 6_000,
            unique_tokens: 1_200,
            output_tokens: 128,
        }
    }
}

/// Generates each prompt of each group once, in random order and with Poisson arrivals.
pub fn shared_prefix(shape: &SharedPrefix, rng: &mut impl Rng) -> Vec<Item> {
    let groups: Vec<u64> = (0..shape.groups).map(|_| rng.random()).collect();
    let mut order: Vec<u64> =
        groups.into_iter().flat_map(|group| (0..shape.prompts_per_group).map(move |_| group)).collect();
    order.shuffle(rng);
    let mut items: Vec<Item> = order
        .into_iter()
        .map(|group| {
            let shared = Segment { author: Author::System, content: group, tokens: shape.shared_tokens };
            let unique = unique_segment(Author::User, shape.unique_tokens, rng);
            item([shared, unique], uniform_around(shape.output_tokens, rng), rng)
        })
        .collect();
    poisson(&mut items, 1.0, rng);
    items
}
