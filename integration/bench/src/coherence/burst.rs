//! Measures how evenly a large burst of requests is distributed over the pods.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::ModelConfig;
use signalbox_types::BlockHash;

use super::goal_status;
use super::statistics::max_to_mean;
use super::workloads::signalbox_policy;
use crate::parallel;
use crate::policy::Visibility;
use crate::routing::block_tokens;
use crate::sim::{self, Prompt, RunConfig, SimRequest};

const REQUESTS: u64 = 800;
const DURATION_US: u64 = 100_000;
const PODS: usize = 8;
const REPLICAS: usize = 4;

/// Blocks of each prompt. Prompts share no blocks with each other.
const PROMPT_BLOCKS: u64 = 16;
const OUTPUT_TOKENS: u32 = 100;

/// Number of bursts per seed.
const BURSTS_PER_SEED: u64 = 8;

const GOAL: f64 = 1.10;

/// Runs the bursts and prints how evenly they are distributed.
pub(super) fn print(seeds: u64) {
    let seeds: Vec<u64> = (0..seeds * BURSTS_PER_SEED).collect();
    println!(
        "\n**{REQUESTS} requests within {} ms, {PODS} pods, {REPLICAS} replicas**\n",
        DURATION_US / 1_000
    );
    println!("| shared state | most at one pod ÷ mean, median of {} bursts | worst | |", seeds.len());
    println!("|---|---|---|---|");
    for (visibility, is_shared) in [(Visibility::Pool, "yes"), (Visibility::Own, "no")] {
        let mut ratios = parallel::map(&seeds, |seed| ratio(visibility, *seed));
        ratios.sort_by(f64::total_cmp);
        let (median, worst) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        let status = if visibility == Visibility::Pool { goal_status(worst <= GOAL) } else { "" };
        println!("| {is_shared} | {median:.3} | {worst:.3} | {status} |");
    }
    println!("\nGoal {GOAL:.2}.");
}

fn ratio(visibility: Visibility, seed: u64) -> f64 {
    let requests = requests(&mut SmallRng::seed_from_u64(seed));
    let model = ModelConfig { block_size_tokens: block_tokens(), ..ModelConfig::default() };
    let (pods, policy) = (vec![model; PODS], signalbox_policy(visibility));
    let run_result = sim::run(RunConfig {
        requests: &requests,
        speed: 1.0,
        pods: &pods,
        policy: &policy,
        replicas: REPLICAS,
        kills: &[],
        seed,
    });
    let mut counts = vec![0; PODS];
    run_result.served.iter().for_each(|served| counts[served.pod] += 1);
    max_to_mean(&counts)
}

fn requests(rng: &mut SmallRng) -> Vec<SimRequest> {
    let mut times: Vec<u64> = (0..REQUESTS).map(|_| rng.random_range(0..DURATION_US)).collect();
    times.sort_unstable();
    let prompt = |number: u64| {
        let blocks: Arc<[u64]> = (0..PROMPT_BLOCKS).map(|block| 1 + number * PROMPT_BLOCKS + block).collect();
        let chain = blocks.iter().map(|block| BlockHash(*block)).collect();
        Prompt { chain, blocks, tokens: PROMPT_BLOCKS as u32 * block_tokens() }
    };
    let request =
        |(at_us, number)| SimRequest { at_us, prompt: prompt(number), output_tokens: OUTPUT_TOKENS };
    times.into_iter().zip(0..).map(request).collect()
}
