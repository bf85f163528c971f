//! Agents that call tools.

use rand::Rng;

use super::sessions::{Turns, append_session, sessions};
use super::{LogNormal, log_uniform, unique_segment};
use crate::{Author, Item, Segment};

/// Agents with tools. All runs of one kind of agent begin with the same instructions and descriptions of tools. A
/// task follows, then many short turns: a call of a tool by the model, and what the tool returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agents {
    /// Number of requests of all agents together.
    pub requests: u32,
    /// Number of kinds of agents.
    pub kinds: u32,
    /// Tokens of the shortest and of the longest instructions of a kind; log-uniformly distributed.
    pub system_tokens: (u32, u32),
    /// Tokens of a task.
    pub task_tokens: LogNormal,
    /// Tokens that a tool returns.
    pub tool_tokens: LogNormal,
    /// Mean number of turns of a task; geometrically distributed.
    pub turns: u32,
    /// Mean number of requests of other agents between two turns: the time for the answer and for the tool.
    pub requests_between_turns: u32,
    /// Mean number of output tokens of a turn.
    pub output_tokens: u32,
}

impl Default for Agents {
    /// The sizes are assumptions, not measurements: instructions of agents that write code have several thousand
    /// tokens, most calls of tools are short, and some return a whole file.
    fn default() -> Self {
        Self {
            requests: 2_000,
            kinds: 24,
            system_tokens: (3_000, 15_000),
            task_tokens: LogNormal { median: 400.0, p90: 2_500.0, most: 10_000 },
            tool_tokens: LogNormal { median: 300.0, p90: 2_000.0, most: 8_000 },
            turns: 10,
            requests_between_turns: 100,
            output_tokens: 120,
        }
    }
}

/// Generates agents that start at random times. Kind n is 1 ÷ n as frequent as the first (Zipf's law).
pub fn agents<R: Rng>(shape: &Agents, rng: &mut R) -> Vec<Item> {
    let (least, most) = shape.system_tokens;
    let kinds: Vec<Segment> = (0..shape.kinds.max(1))
        .map(|_| unique_segment(Author::System, log_uniform(least, most, rng), rng))
        .collect();
    let turns = Turns {
        mean: f64::from(shape.turns.max(1)),
        requests_between: f64::from(shape.requests_between_turns.max(1)),
        output_tokens: shape.output_tokens,
    };
    let message = |turn: usize, rng: &mut R| match turn {
        0 => unique_segment(Author::User, shape.task_tokens.draw(rng), rng),
        _ => unique_segment(Author::Tool, shape.tool_tokens.draw(rng), rng),
    };
    let session = |items: &mut Vec<Item>, start_us, rng: &mut R| {
        let kind = kinds[zipf(kinds.len(), rng)];
        append_session(items, start_us, vec![kind], &turns, message, rng);
    };
    sessions(shape.requests, &turns, session, rng)
}

/// Draws a number below `count` (at least 1); n is drawn 1 ÷ (n + 1) times as often as 0.
pub fn zipf(count: usize, rng: &mut impl Rng) -> usize {
    let weight = |number: usize| 1.0 / (number + 1) as f64;
    let mut rest = rng.random::<f64>() * (0..count).map(weight).sum::<f64>();
    for number in 0..count - 1 {
        rest -= weight(number);
        if rest < 0.0 {
            return number;
        }
    }
    count - 1
}
