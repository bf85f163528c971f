//! Measures how evenly a large burst of requests is distributed over the pods.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_bench_report::max_to_mean;
use signalbox_workload::{Author, Item, Prompt, Segment};

use super::goal_status;
use crate::parallel;
use crate::policies::{Visibility, signalbox};
use crate::routing::{Scene, Workload};
use crate::sim::{self, RunConfig};

/// The scene on whose pods the bursts run.
const SCENE: &str = "burst";

const REQUESTS: u64 = 800;
const DURATION_US: u64 = 100_000;
const REPLICAS: usize = 4;

/// Tokens of each prompt. Prompts share nothing with each other.
const PROMPT_TOKENS: u32 = 1_024;
const OUTPUT_TOKENS: u32 = 100;

/// Number of bursts per seed.
const BURSTS_PER_SEED: u64 = 8;

const GOAL: f64 = 1.10;

/// Runs the bursts and prints how evenly they are distributed.
pub(super) fn print(seeds: u64) {
    let seeds: Vec<u64> = (0..seeds * BURSTS_PER_SEED).collect();
    let pods = Scene::find(SCENE).map(Scene::describe_pods).unwrap_or_default();
    println!("\n**{REQUESTS} requests within {} ms, {pods}, {REPLICAS} replicas**\n", DURATION_US / 1_000);
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
    let profiles = Scene::find(SCENE).map_or_else(Vec::new, Scene::pod_profiles);
    let items = items(&mut SmallRng::seed_from_u64(seed));
    let workload = Workload::new(&profiles, &items).expect("the pods can serve short prompts");
    let contender = signalbox(visibility);
    let run_result = sim::run(RunConfig {
        requests: &workload.requests,
        speed: 1.0,
        pods: &workload.pods,
        contender: &contender,
        replicas: REPLICAS,
        kills: &[],
        seed,
        flow: None,
    });
    let mut counts = vec![0; profiles.len()];
    run_result.served.iter().for_each(|served| counts[served.pod] += 1);
    max_to_mean(&counts)
}

fn items(rng: &mut SmallRng) -> Vec<Item> {
    let mut times: Vec<u64> = (0..REQUESTS).map(|_| rng.random_range(0..DURATION_US)).collect();
    times.sort_unstable();
    let item = |(at_us, number)| {
        let prompt = Prompt::new([Segment { author: Author::User, content: number, tokens: PROMPT_TOKENS }]);
        Item { at_us, prompt, output_tokens: OUTPUT_TOKENS, answer: number }
    };
    times.into_iter().zip(0..).map(item).collect()
}
