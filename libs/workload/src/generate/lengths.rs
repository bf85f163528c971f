//! Independent requests with lengths as measured in a cloud.

use rand::Rng;

use super::{LogNormal, item, unique_segment};
use crate::arrivals::poisson;
use crate::{Author, Item, Segment};

/// Lengths of prompts and outputs as in Azure's LLM inference traces of 2023 (Azure/AzurePublicDataset, CC-BY-4.0). Of their
/// 28,185 requests, 8,819 are of a service for code and 19,366 of one for conversations. The log-normal distributions have
/// the median and the 90th percentile of each trace and are cut off at its 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// Number of requests.
    pub requests: u32,
    /// System prompts that some of the prompts begin with.
    pub system_prompts: SystemPrompts,
}

/// System prompts that some prompts begin with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SystemPrompts {
    /// Share of the prompts that begin with one of them.
    pub share: f64,
    /// Number of different system prompts, at least 1.
    pub count: u32,
    /// Tokens of each.
    pub tokens: u32,
}

impl SystemPrompts {
    /// No prompt shares anything with another.
    pub const NONE: Self = Self { share: 0.0, count: 1, tokens: 0 };
}

/// Share of requests for code.
const CODE_SHARE: f64 = 8_819.0 / 28_185.0;

const CODE_PROMPT: LogNormal = LogNormal { median: 1_469.0, p90: 5_194.0, most: 7_436 };
const CODE_OUTPUT: LogNormal = LogNormal { median: 13.0, p90: 55.0, most: 252 };
const CHAT_PROMPT: LogNormal = LogNormal { median: 1_020.0, p90: 2_735.0, most: 4_142 };
const CHAT_OUTPUT: LogNormal = LogNormal { median: 129.0, p90: 424.0, most: 601 };

/// Generates requests with Poisson arrivals.
pub fn lengths(shape: &Lengths, rng: &mut impl Rng) -> Vec<Item> {
    let SystemPrompts { share, count, tokens } = shape.system_prompts;
    let systems: Vec<Segment> =
        (0..count.max(1)).map(|_| unique_segment(Author::System, tokens, rng)).collect();
    let mut items: Vec<Item> = (0..shape.requests)
        .map(|_| {
            let is_code = rng.random::<f64>() < CODE_SHARE;
            let (prompt, output) =
                if is_code { (CODE_PROMPT, CODE_OUTPUT) } else { (CHAT_PROMPT, CHAT_OUTPUT) };
            let system = systems[rng.random_range(0..systems.len())];
            let system = (rng.random::<f64>() < share).then_some(system);
            let user = unique_segment(Author::User, prompt.draw(rng), rng);
            let output_tokens = output.draw(rng);
            item(system.into_iter().chain([user]), output_tokens, rng)
        })
        .collect();
    poisson(&mut items, 1.0, rng);
    items
}
