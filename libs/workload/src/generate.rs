//! Generates workloads. Their mean rate is one request per second; [`crate::arrivals::rescale`] changes it.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::arrivals::{pause_us, poisson};
use crate::{Item, Prompt, Segment};

/// Groups of prompts with a shared prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPrefix {
    /// Number of groups.
    pub groups: u32,
    /// Prompts per group.
    pub prompts_per_group: u32,
    /// Tokens of the prefix that the prompts of a group share.
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
            prompts_per_group: 5,
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
            let shared = Segment { content: group, tokens: shape.shared_tokens };
            item(0, [shared, unique_segment(shape.unique_tokens, rng)], shape.output_tokens, rng)
        })
        .collect();
    poisson(&mut items, 1.0, rng);
    items
}

/// Bursts of prompts that arrive at almost the same time and share a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Number of bursts.
    pub bursts: u32,
    /// Requests per burst.
    pub requests_per_burst: u32,
    /// Number of different prefixes; each burst uses one of them, drawn at random.
    pub groups: u32,
    /// Tokens of a prefix.
    pub shared_tokens: u32,
    /// Tokens of each prompt that no other prompt has.
    pub unique_tokens: u32,
    /// Mean number of output tokens.
    pub output_tokens: u32,
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            bursts: 60,
            requests_per_burst: 32,
            groups: 20,
            shared_tokens: 4_000,
            unique_tokens: 500,
            output_tokens: 128,
        }
    }
}

/// Mean duration of a burst as a share of the time between two bursts.
const BURST_SHARE: f64 = 0.02;

/// Generates bursts at random times.
pub fn burst(shape: &Burst, rng: &mut impl Rng) -> Vec<Item> {
    let groups: Vec<u64> = (0..shape.groups.max(1)).map(|_| rng.random()).collect();
    let bursts_per_second = 1.0 / f64::from(shape.requests_per_burst.max(1));
    let (mut items, mut start_us) = (Vec::new(), 0.0);
    for _ in 0..shape.bursts {
        start_us += pause_us(bursts_per_second, rng);
        let group = groups[rng.random_range(0..groups.len())];
        for _ in 0..shape.requests_per_burst {
            let at_us = start_us + rng.random::<f64>() * BURST_SHARE / bursts_per_second * 1e6;
            let shared = Segment { content: group, tokens: shape.shared_tokens };
            let prompt = [shared, unique_segment(shape.unique_tokens, rng)];
            items.push(item(at_us as u64, prompt, shape.output_tokens, rng));
        }
    }
    items.sort_by_key(|item| item.at_us);
    items
}

/// Prompts without any shared prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSharing {
    /// Number of requests.
    pub requests: u32,
    /// Tokens of the shortest prompt.
    pub min_tokens: u32,
    /// Tokens of the longest prompt.
    pub max_tokens: u32,
    /// Mean number of output tokens.
    pub output_tokens: u32,
}

impl Default for NoSharing {
    fn default() -> Self {
        Self { requests: 1_500, min_tokens: 200, max_tokens: 16_000, output_tokens: 200 }
    }
}

/// Generates prompts of log-uniformly distributed lengths with Poisson arrivals.
pub fn no_sharing(shape: &NoSharing, rng: &mut impl Rng) -> Vec<Item> {
    let mut items: Vec<Item> = (0..shape.requests)
        .map(|_| {
            let unique = unique_segment(log_uniform(shape.min_tokens, shape.max_tokens, rng), rng);
            item(0, [unique], shape.output_tokens, rng)
        })
        .collect();
    poisson(&mut items, 1.0, rng);
    items
}

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

/// Mean number of requests of other conversations between two turns.
const REQUESTS_BETWEEN_TURNS: f64 = 100.0;

/// Generates conversations that start at random times and pause for random times between their turns.
pub fn conversation(shape: &Conversation, rng: &mut impl Rng) -> Vec<Item> {
    let system = unique_segment(shape.system_tokens, rng);
    let turns = f64::from(shape.turns.max(1));
    let (mut items, mut start_us) = (Vec::new(), 0.0);
    // Turns reach beyond the start of the last conversation, so this generates more than needed and keeps the
    // first.
    while items.len() < shape.requests as usize + shape.requests as usize / 2 {
        start_us += pause_us(1.0 / turns, rng);
        let mut history = vec![system];
        let mut message = log_uniform(shape.min_first_tokens, shape.max_first_tokens, rng);
        let mut at_us = start_us;
        loop {
            history.push(unique_segment(message, rng));
            let turn = item(at_us as u64, history.iter().copied(), shape.output_tokens, rng);
            history.push(unique_segment(turn.output_tokens, rng));
            items.push(turn);
            if rng.random::<f64>() < 1.0 / turns {
                break;
            }
            at_us += pause_us(1.0 / REQUESTS_BETWEEN_TURNS, rng);
            message = uniform_around(shape.later_tokens, rng);
        }
    }
    items.sort_by_key(|item| item.at_us);
    items.truncate(shape.requests as usize);
    items
}

fn item(
    at_us: u64,
    prompt: impl IntoIterator<Item = Segment>,
    output_tokens: u32,
    rng: &mut impl Rng,
) -> Item {
    Item { at_us, prompt: Prompt::new(prompt), output_tokens: uniform_around(output_tokens, rng) }
}

/// Creates a segment whose text no other segment has.
fn unique_segment(tokens: u32, rng: &mut impl Rng) -> Segment {
    Segment { content: rng.random(), tokens }
}

/// Draws uniformly between 0.5 and 1.5 times `mean`, at least 1.
fn uniform_around(mean: u32, rng: &mut impl Rng) -> u32 {
    rng.random_range(mean.div_ceil(2)..=mean + mean / 2).max(1)
}

/// Draws log-uniformly between `min` and `max`.
fn log_uniform(min: u32, max: u32, rng: &mut impl Rng) -> u32 {
    let (min, max) = (f64::from(min.max(1)).ln(), f64::from(max.max(min).max(1)).ln());
    (min + (max - min) * rng.random::<f64>()).exp().round() as u32
}
