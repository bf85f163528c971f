//! Very many requests at almost one time.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::ModelConfig;
use signalbox_types::BlockHash;

use super::statistics::max_to_mean;
use super::verdict;
use super::workloads::ours;
use crate::parallel;
use crate::policy::Sight;
use crate::routing::block_tokens;
use crate::sim::{self, Coming, Prompt, Setup};

const REQUESTS: u64 = 800;
const WITHIN_US: u64 = 100_000;
const PODS: usize = 8;
const REPLICAS: usize = 4;

/// Of every prompt, none of which shares anything with another.
const PROMPT_BLOCKS: u64 = 16;
const OUTPUT_TOKENS: u32 = 100;

/// Bursts for each seed.
const RUNS: u64 = 8;

const GOAL: f64 = 1.10;

/// Runs the bursts and prints how evenly they are spread.
pub(super) fn print(seeds: u64) {
    let seeds: Vec<u64> = (0..seeds * RUNS).collect();
    println!("\n**{REQUESTS} requests within {} ms, {PODS} pods, {REPLICAS} replicas**\n", WITHIN_US / 1_000);
    println!("| each sees | most at one pod ÷ mean, median of {} bursts | worst | |", seeds.len());
    println!("|---|---|---|---|");
    for (sight, sees) in [(Sight::Pool, "all"), (Sight::Own, "its own")] {
        let mut ratios = parallel::map(&seeds, |seed| ratio(sight, *seed));
        ratios.sort_by(f64::total_cmp);
        let (median, worst) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        let judged = if sight == Sight::Pool { verdict(worst <= GOAL) } else { "" };
        println!("| {sees} | {median:.3} | {worst:.3} | {judged} |");
    }
    println!("\nGoal {GOAL:.2}.");
}

fn ratio(sight: Sight, seed: u64) -> f64 {
    let requests = requests(&mut SmallRng::seed_from_u64(seed));
    let model = ModelConfig { block_size_tokens: block_tokens(), ..ModelConfig::default() };
    let (pods, contender) = (vec![model; PODS], ours(sight));
    let ran = sim::run(Setup {
        requests: &requests,
        speed: 1.0,
        pods: &pods,
        contender: &contender,
        replicas: REPLICAS,
        blows: &[],
        seed,
    });
    let mut counts = vec![0; PODS];
    ran.served.iter().for_each(|served| counts[served.pod] += 1);
    max_to_mean(&counts)
}

fn requests(rng: &mut SmallRng) -> Vec<Coming> {
    let mut times: Vec<u64> = (0..REQUESTS).map(|_| rng.random_range(0..WITHIN_US)).collect();
    times.sort_unstable();
    let prompt = |number: u64| {
        let blocks: Arc<[u64]> = (0..PROMPT_BLOCKS).map(|block| 1 + number * PROMPT_BLOCKS + block).collect();
        let chain = blocks.iter().map(|block| BlockHash(*block)).collect();
        Prompt { chain, blocks, tokens: PROMPT_BLOCKS as u32 * block_tokens() }
    };
    let coming = |(at_us, number)| Coming { at_us, prompt: prompt(number), output_tokens: OUTPUT_TOKENS };
    times.into_iter().zip(0..).map(coming).collect()
}
