//! Conversations.

use rand::Rng;

use super::sessions::{Turns, append_session, sessions};
use super::{log_uniform, uniform_around, unique_segment};
use crate::{Author, Item};

/// Conversations of several turns, each of which sends the whole conversation so far. They resemble
/// Mooncake's conversation trace in lengths and sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Number of turns of all conversations together.
    pub requests: u32,
    /// Mean number of turns of a conversation; geometrically distributed.
    pub turns: u32,
    /// Tokens of the system prompt, with which all prompts begin.
    pub system_tokens: u32,
    /// Tokens of the shortest first message.
    pub min_first_tokens: u32,
    /// Tokens of the longest first message.
    pub max_first_tokens: u32,
    /// Mean number of tokens of a later message.
    pub later_tokens: u32,
    /// Mean number of output tokens.
    pub output_tokens: u32,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            requests: 1_500,
            turns: 3,
            system_tokens: 512,
            min_first_tokens: 500,
            max_first_tokens: 60_000,
            later_tokens: 800,
            output_tokens: 340,
        }
    }
}

/// Mean number of requests of other conversations between two turns. At 10 requests per second that is 20 s, so that
/// nearly every answer is complete before it is sent back.
const REQUESTS_BETWEEN_TURNS: f64 = 200.0;

/// Generates conversations that start at random times and pause for random times between their turns.
pub fn conversation<R: Rng>(shape: &Conversation, rng: &mut R) -> Vec<Item> {
    let system = unique_segment(Author::System, shape.system_tokens, rng);
    let turns = Turns {
        mean: f64::from(shape.turns.max(1)),
        requests_between: REQUESTS_BETWEEN_TURNS,
        output_tokens: shape.output_tokens,
    };
    let message = |turn: usize, rng: &mut R| {
        let tokens = match turn {
            0 => log_uniform(shape.min_first_tokens, shape.max_first_tokens, rng),
            _ => uniform_around(shape.later_tokens, rng),
        };
        unique_segment(Author::User, tokens, rng)
    };
    let session = |items: &mut Vec<Item>, start_us, rng: &mut R| {
        append_session(items, start_us, vec![system], &turns, message, rng);
    };
    sessions(shape.requests, &turns, session, rng)
}
