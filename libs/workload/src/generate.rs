//! Generated workloads. All arrive at one request per second on average; [`crate::arrivals::rescale`] makes them faster.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::arrivals::{pause_us, poisson};
use crate::{Item, Prompt, Segment};

/// Groups of prompts with the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPrefix {
    /// How many groups.
    pub groups: u32,
    /// Prompts of each.
    pub prompts_per_group: u32,
    /// Tokens that the prompts of a group begin with.
    pub shared_tokens: u32,
    /// Tokens of each prompt that no other one has.
    pub own_tokens: u32,
    /// Tokens of an answer, on average.
    pub output_tokens: u32,
}

impl Default for SharedPrefix {
    fn default() -> Self {
        Self {
            groups: 150,
            prompts_per_group: 5,
            shared_tokens: 6_000,
            own_tokens: 1_200,
            output_tokens: 128,
        }
    }
}

/// Each prompt of each group once, in random order, at random times.
pub fn shared_prefix(shape: &SharedPrefix, rng: &mut impl Rng) -> Vec<Item> {
    let groups: Vec<u64> = (0..shape.groups).map(|_| rng.random()).collect();
    let mut order: Vec<u64> =
        groups.into_iter().flat_map(|group| (0..shape.prompts_per_group).map(move |_| group)).collect();
    order.shuffle(rng);
    let mut items: Vec<Item> = order
        .into_iter()
        .map(|group| {
            let shared = Segment { content: group, tokens: shape.shared_tokens };
            item(0, [shared, fresh(shape.own_tokens, rng)], shape.output_tokens, rng)
        })
        .collect();
    poisson(&mut items, 1.0, rng);
    items
}

/// Prompts that come all at once, those of a burst with the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// How many bursts.
    pub bursts: u32,
    /// Requests of each.
    pub requests_per_burst: u32,
    /// How many beginnings there are; each burst has one of them, drawn at random.
    pub groups: u32,
    /// Tokens of a beginning.
    pub shared_tokens: u32,
    /// Tokens of each prompt that no other one has.
    pub own_tokens: u32,
    /// Tokens of an answer, on average.
    pub output_tokens: u32,
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            bursts: 60,
            requests_per_burst: 32,
            groups: 20,
            shared_tokens: 4_000,
            own_tokens: 500,
            output_tokens: 128,
        }
    }
}

/// Of the time between two bursts, a burst itself takes this share on average.
const BURST_SHARE: f64 = 0.02;

/// Bursts at random times.
pub fn burst(shape: &Burst, rng: &mut impl Rng) -> Vec<Item> {
    let groups: Vec<u64> = (0..shape.groups.max(1)).map(|_| rng.random()).collect();
    let bursts_per_second = 1.0 / f64::from(shape.requests_per_burst.max(1));
    let (mut items, mut began_us) = (Vec::new(), 0.0);
    for _ in 0..shape.bursts {
        began_us += pause_us(bursts_per_second, rng);
        let group = groups[rng.random_range(0..groups.len())];
        for _ in 0..shape.requests_per_burst {
            let at_us = began_us + rng.random::<f64>() * BURST_SHARE / bursts_per_second * 1e6;
            let shared = Segment { content: group, tokens: shape.shared_tokens };
            let prompt = [shared, fresh(shape.own_tokens, rng)];
            items.push(item(at_us as u64, prompt, shape.output_tokens, rng));
        }
    }
    items.sort_by_key(|item| item.at_us);
    items
}

/// Prompts that have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSharing {
    /// How many.
    pub requests: u32,
    /// The shortest one.
    pub least_tokens: u32,
    /// The longest one.
    pub most_tokens: u32,
    /// Tokens of an answer, on average.
    pub output_tokens: u32,
}

impl Default for NoSharing {
    fn default() -> Self {
        Self { requests: 1_500, least_tokens: 200, most_tokens: 16_000, output_tokens: 200 }
    }
}

/// Prompts of very different lengths (the logarithm is uniform) at random times.
pub fn no_sharing(shape: &NoSharing, rng: &mut impl Rng) -> Vec<Item> {
    let mut items: Vec<Item> = (0..shape.requests)
        .map(|_| {
            let own = fresh(log_uniform(shape.least_tokens, shape.most_tokens, rng), rng);
            item(0, [own], shape.output_tokens, rng)
        })
        .collect();
    poisson(&mut items, 1.0, rng);
    items
}

/// Conversations of several turns, each of which sends all that was said before: a stand-in for Mooncake's conversation trace, whose
/// lengths and sharing it has about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// How many turns, of all conversations together.
    pub requests: u32,
    /// Turns of a conversation, on average: their number is geometrically distributed.
    pub turns: u32,
    /// Tokens that all prompts begin with.
    pub system_tokens: u32,
    /// The shortest first message.
    pub least_first_tokens: u32,
    /// The longest first message.
    pub most_first_tokens: u32,
    /// Tokens of a later message, on average.
    pub later_tokens: u32,
    /// Tokens of an answer, on average.
    pub output_tokens: u32,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            requests: 1_500,
            turns: 3,
            system_tokens: 512,
            least_first_tokens: 500,
            most_first_tokens: 60_000,
            later_tokens: 800,
            output_tokens: 340,
        }
    }
}

/// Between two turns pass as many requests of other conversations, on average.
const REQUESTS_BETWEEN_TURNS: f64 = 100.0;

/// Conversations that begin at random times and pause at random between their turns.
pub fn conversation(shape: &Conversation, rng: &mut impl Rng) -> Vec<Item> {
    let system = fresh(shape.system_tokens, rng);
    let turns = f64::from(shape.turns.max(1));
    let (mut items, mut began_us) = (Vec::new(), 0.0);
    // Turns reach beyond the last beginning: more are made than needed, and the first ones are taken.
    while items.len() < shape.requests as usize + shape.requests as usize / 2 {
        began_us += pause_us(1.0 / turns, rng);
        let mut said = vec![system];
        let mut message = log_uniform(shape.least_first_tokens, shape.most_first_tokens, rng);
        let mut at_us = began_us;
        loop {
            said.push(fresh(message, rng));
            let turn = item(at_us as u64, said.iter().copied(), shape.output_tokens, rng);
            said.push(fresh(turn.output_tokens, rng));
            items.push(turn);
            if rng.random::<f64>() < 1.0 / turns {
                break;
            }
            at_us += pause_us(1.0 / REQUESTS_BETWEEN_TURNS, rng);
            message = around(shape.later_tokens, rng);
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
    Item { at_us, prompt: Prompt::new(prompt), output_tokens: around(output_tokens, rng) }
}

/// A text that nobody else has.
fn fresh(tokens: u32, rng: &mut impl Rng) -> Segment {
    Segment { content: rng.random(), tokens }
}

/// Uniform between half and one and a half of `mean`, at least 1.
fn around(mean: u32, rng: &mut impl Rng) -> u32 {
    rng.random_range(mean.div_ceil(2)..=mean + mean / 2).max(1)
}

fn log_uniform(least: u32, most: u32, rng: &mut impl Rng) -> u32 {
    let (least, most) = (f64::from(least.max(1)).ln(), f64::from(most.max(least).max(1)).ln());
    (least + (most - least) * rng.random::<f64>()).exp().round() as u32
}
