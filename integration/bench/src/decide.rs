//! `decide`: what a decision costs. One thread, everything in memory, as on the request path of an EPP: the look-up of the prompt and of
//! the own work in flight (survey), then the choice.

mod scene;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use allocation_counter::measure;
use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use signalbox_schedule::DecisionInputs;

use crate::policy::{Choice, Chooser, Contender, Turn, contenders};
use scene::{Holders, Scene};

/// Sizes of the pool.
const ENDPOINTS: [usize; 3] = [10, 100, 1_000];

/// Blocks of the short prompt, and of the long one.
const SHORT_BLOCKS: usize = 8;
const LONG_BLOCKS: usize = 6_250;

/// Who decides.
const POLICIES: [&str; 2] = [crate::policy::OURS, crate::policy::GO_DEFAULT];

/// Goals: median microseconds with so many endpoints.
const AT_100_US: f64 = 5.0;
const AT_1000_US: f64 = 60.0;

/// The arguments of `decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Writes all figures as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Pools and prompts to measure, each generated from a seed of its own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Decisions to time for each
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..))]
    decisions: u32,
}

/// What decisions cost with one policy, pool size and prompt.
#[derive(Debug, Serialize)]
struct Cost {
    policy: String,
    endpoints: usize,
    blocks: usize,
    holders: Holders,
    /// One for each seed.
    runs: Vec<Run>,
}

/// Nanoseconds, the reading of the clock taken off, and allocations of one decision.
#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    survey_median_ns: f64,
    choice_median_ns: f64,
    median_ns: f64,
    p99_ns: f64,
    allocations: u64,
    allocated_bytes: u64,
}

/// Runs the bench, prints its table and writes its figures.
///
/// # Errors
/// Figures that cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("generated pools and prompts, {} seeds, {} decisions each", args.seeds, args.decisions);
    let mut costs = Vec::new();
    for contender in contenders().iter().filter(|contender| POLICIES.contains(&contender.name.as_str())) {
        for endpoints in ENDPOINTS {
            let prompts = [(SHORT_BLOCKS, Holders::Nobody), (SHORT_BLOCKS, Holders::Some)];
            let long = [(LONG_BLOCKS, Holders::Some), (LONG_BLOCKS, Holders::All)];
            for (blocks, holders) in prompts.into_iter().chain(long) {
                let run = |seed| time(args, contender, &Scene::new(seed, endpoints, blocks, holders));
                let runs = (0..args.seeds).map(run).collect();
                costs.push(Cost { policy: contender.name.clone(), endpoints, blocks, holders, runs });
            }
        }
    }
    print(&costs);
    verdicts(&costs);
    if let Some(path) = &args.output {
        let json = serde_json::to_string_pretty(&costs)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn time(args: &Args, contender: &Contender, scene: &Scene) -> Run {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut turn = Turn::new(0);
    let mut once = || {
        let began = Instant::now();
        let (local, matches) = black_box(scene).survey();
        let surveyed = Instant::now();
        let inputs =
            DecisionInputs { view: &scene.view, local: &local, matches: &matches, request: &scene.request };
        black_box(choose(&contender.chooser, &inputs, &mut turn, &mut rng));
        let chosen = Instant::now();
        [surveyed - began, chosen - surveyed].map(|took| took.as_nanos() as f64)
    };
    (0..args.decisions / 10).for_each(|_| {
        once();
    });
    let clock_ns = clock_ns();
    let took: Vec<_> = (0..args.decisions).map(|_| once().map(|ns| (ns - clock_ns).max(0.0))).collect();
    let info = measure(|| {
        once();
    });
    let survey: Vec<_> = took.iter().map(|[survey, _]| *survey).collect();
    let choice: Vec<_> = took.iter().map(|[_, choice]| *choice).collect();
    let whole: Vec<_> = took.iter().map(|[survey, choice]| survey + choice).collect();
    Run {
        survey_median_ns: percentile(survey, 50),
        choice_median_ns: percentile(choice, 50),
        median_ns: percentile(whole.clone(), 50),
        p99_ns: percentile(whole, 99),
        allocations: info.count_total,
        allocated_bytes: info.bytes_total,
    }
}

#[inline(never)]
fn choose(chooser: &Chooser, inputs: &DecisionInputs<'_>, turn: &mut Turn, rng: &mut SmallRng) -> Choice {
    chooser.choose(inputs, turn, rng)
}

/// What it takes to read the clock.
fn clock_ns() -> f64 {
    let once = |_| {
        let began = Instant::now();
        (Instant::now() - began).as_nanos() as f64
    };
    percentile((0..1_000).map(once).collect(), 50)
}

fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).max(1) - 1]
}

impl Cost {
    /// The median of the seeds' figures.
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        percentile(self.runs.iter().map(of).collect(), 50)
    }

    fn allocations(&self) -> (u64, u64) {
        let all = || self.runs.iter().map(|run| run.allocations);
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    }
}

fn print(costs: &[Cost]) {
    println!("microseconds: medians, ± half the distance between the extremes of the seeds' medians");
    println!(
        "  {:<11} {:>9} {:>7} {:<7} {:>8} {:>8} {:>16} {:>8} {:>7} {:>9}",
        "policy", "endpoints", "blocks", "held by", "survey", "choice", "both", "p99", "allocs", "bytes"
    );
    for cost in costs {
        let us = |of: fn(&Run) -> f64| cost.median(of) / 1e3;
        let medians = || cost.runs.iter().map(|run| run.median_ns / 1e3);
        let spread = medians().fold(0.0, f64::max) - medians().fold(f64::INFINITY, f64::min);
        let (least, most) = cost.allocations();
        let allocations = if least == most { least.to_string() } else { format!("{least}-{most}") };
        println!(
            "  {:<11} {:>9} {:>7} {:<7} {:>8.2} {:>8.2} {:>8.2} ± {:>5.2} {:>8.2} {:>7} {:>9.0}",
            cost.policy,
            cost.endpoints,
            cost.blocks,
            cost.holders.name(),
            us(|run| run.survey_median_ns),
            us(|run| run.choice_median_ns),
            us(|run| run.median_ns),
            spread / 2.0,
            us(|run| run.p99_ns),
            allocations,
            cost.median(|run| run.allocated_bytes as f64)
        );
    }
}

fn verdicts(costs: &[Cost]) {
    println!("\n== goals");
    let ours = || costs.iter().filter(|cost| cost.policy == crate::policy::OURS);
    for cost in ours() {
        let goal_us = match (cost.endpoints, cost.blocks) {
            (100, _) => AT_100_US,
            (1_000, LONG_BLOCKS) => AT_1000_US,
            _ => continue,
        };
        let took_us = cost.median(|run| run.median_ns) / 1e3;
        let (endpoints, blocks, holders) = (cost.endpoints, cost.blocks, cost.holders.name());
        say(
            took_us <= goal_us,
            &format!(
                "{endpoints} endpoints, {blocks} blocks held by {holders}: {took_us:.2} µs (goal {goal_us})"
            ),
        );
    }
    for few in ours().filter(|cost| cost.endpoints == ENDPOINTS[0]) {
        let same = |cost: &&Cost| (cost.blocks, cost.holders) == (few.blocks, few.holders);
        let counts: Vec<_> = ours().filter(same).map(|cost| cost.allocations().1).collect();
        let is_constant = counts.iter().all(|count| *count == counts[0]);
        let (blocks, holders) = (few.blocks, few.holders.name());
        say(
            is_constant,
            &format!(
                "{blocks} blocks held by {holders}: {counts:?} allocations with {ENDPOINTS:?} endpoints (goal: the same)"
            ),
        );
    }
}

fn say(is_met: bool, line: &str) {
    println!("  {} {line}", if is_met { "met   " } else { "MISSED" });
}
