//! `decide`: measures the cost of a decision, single-threaded and in memory, as on the request path of an
//! EPP: first the lookup of the prompt and of the replica's own load, then the choice.

mod fixture;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use allocation_counter::measure;
use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use signalbox_schedule::DecisionInputs;

use crate::policy::{Algorithm, BenchPolicy, Choice, Rotation, compared_policies};
use fixture::{Fixture, Holders};

/// Pool sizes.
const ENDPOINTS: [usize; 3] = [10, 100, 1_000];

/// Lengths of the short and the long prompt in blocks.
const SHORT_BLOCKS: usize = 8;
const LONG_BLOCKS: usize = 6_250;

/// The measured policies.
const POLICIES: [&str; 2] = [crate::policy::SIGNALBOX, crate::policy::GO_DEFAULT];

/// Goals: median microseconds with 100 and with 1,000 endpoints.
const GOAL_AT_100_US: f64 = 5.0;
const GOAL_AT_1000_US: f64 = 60.0;

/// Arguments of `decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of pools and prompts to measure, each generated from its own seed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Number of decisions to time for each
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..))]
    decisions: u32,
}

/// Cost of decisions with one policy, pool size and prompt.
#[derive(Debug, Serialize)]
struct DecisionCost {
    policy: String,
    endpoints: usize,
    blocks: usize,
    holders: Holders,
    /// One entry per seed.
    runs: Vec<RunCost>,
}

/// Cost of one decision: nanoseconds, without the overhead of reading the clock, and allocations.
#[derive(Clone, Copy, Debug, Serialize)]
struct RunCost {
    lookup_median_ns: f64,
    choice_median_ns: f64,
    median_ns: f64,
    p99_ns: f64,
    allocations: u64,
    allocated_bytes: u64,
}

/// Runs the benchmark, prints its table and writes its measurements.
///
/// # Errors
/// Fails when the measurements cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("generated pools and prompts, {} seeds, {} decisions each", args.seeds, args.decisions);
    let mut costs = Vec::new();
    for policy in compared_policies().iter().filter(|policy| POLICIES.contains(&policy.name.as_str())) {
        for endpoints in ENDPOINTS {
            let prompts = [(SHORT_BLOCKS, Holders::Nobody), (SHORT_BLOCKS, Holders::Some)];
            let long = [(LONG_BLOCKS, Holders::Some), (LONG_BLOCKS, Holders::All)];
            for (blocks, holders) in prompts.into_iter().chain(long) {
                let run =
                    |seed| measure_decisions(args, policy, &Fixture::new(seed, endpoints, blocks, holders));
                let runs = (0..args.seeds).map(run).collect();
                costs.push(DecisionCost { policy: policy.name.clone(), endpoints, blocks, holders, runs });
            }
        }
    }
    print(&costs);
    print_goals(&costs);
    if let Some(path) = &args.output {
        let json = serde_json::to_string_pretty(&costs)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure_decisions(args: &Args, policy: &BenchPolicy, fixture: &Fixture) -> RunCost {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut rotation = Rotation::new(0);
    let mut once = || {
        let start = Instant::now();
        let (local, matches) = black_box(fixture).look_up();
        let looked_up = Instant::now();
        let inputs = DecisionInputs {
            view: &fixture.view,
            local: &local,
            matches: &matches,
            request: &fixture.request,
        };
        black_box(choose(&policy.algorithm, &inputs, &mut rotation, &mut rng));
        let chosen = Instant::now();
        [looked_up - start, chosen - looked_up].map(|elapsed| elapsed.as_nanos() as f64)
    };
    (0..args.decisions / 10).for_each(|_| {
        once();
    });
    let clock_ns = clock_ns();
    let elapsed: Vec<_> = (0..args.decisions).map(|_| once().map(|ns| (ns - clock_ns).max(0.0))).collect();
    let info = measure(|| {
        once();
    });
    let lookup: Vec<_> = elapsed.iter().map(|[lookup, _]| *lookup).collect();
    let choice: Vec<_> = elapsed.iter().map(|[_, choice]| *choice).collect();
    let total: Vec<_> = elapsed.iter().map(|[lookup, choice]| lookup + choice).collect();
    RunCost {
        lookup_median_ns: percentile(lookup, 50),
        choice_median_ns: percentile(choice, 50),
        median_ns: percentile(total.clone(), 50),
        p99_ns: percentile(total, 99),
        allocations: info.count_total,
        allocated_bytes: info.bytes_total,
    }
}

#[inline(never)]
fn choose(
    algorithm: &Algorithm,
    inputs: &DecisionInputs<'_>,
    rotation: &mut Rotation,
    rng: &mut SmallRng,
) -> Choice {
    algorithm.choose(inputs, rotation, rng)
}

/// Returns the time that it takes to read the clock.
fn clock_ns() -> f64 {
    let once = |_| {
        let start = Instant::now();
        (Instant::now() - start).as_nanos() as f64
    };
    percentile((0..1_000).map(once).collect(), 50)
}

fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).max(1) - 1]
}

impl DecisionCost {
    /// Returns the median over the seeds.
    fn median(&self, of: impl Fn(&RunCost) -> f64) -> f64 {
        percentile(self.runs.iter().map(of).collect(), 50)
    }

    fn allocations(&self) -> (u64, u64) {
        let all = || self.runs.iter().map(|run| run.allocations);
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    }
}

fn print(costs: &[DecisionCost]) {
    println!("microseconds: medians over the seeds, ± half the range of the seeds' medians");
    println!(
        "  {:<11} {:>9} {:>7} {:<7} {:>8} {:>8} {:>16} {:>8} {:>7} {:>9}",
        "policy", "endpoints", "blocks", "held by", "lookup", "choice", "total", "p99", "allocs", "bytes"
    );
    for cost in costs {
        let us = |of: fn(&RunCost) -> f64| cost.median(of) / 1e3;
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
            us(|run| run.lookup_median_ns),
            us(|run| run.choice_median_ns),
            us(|run| run.median_ns),
            spread / 2.0,
            us(|run| run.p99_ns),
            allocations,
            cost.median(|run| run.allocated_bytes as f64)
        );
    }
}

fn print_goals(costs: &[DecisionCost]) {
    println!("\n== goals");
    let signalbox = || costs.iter().filter(|cost| cost.policy == crate::policy::SIGNALBOX);
    for cost in signalbox() {
        let goal_us = match (cost.endpoints, cost.blocks) {
            (100, _) => GOAL_AT_100_US,
            (1_000, LONG_BLOCKS) => GOAL_AT_1000_US,
            _ => continue,
        };
        let median_us = cost.median(|run| run.median_ns) / 1e3;
        let (endpoints, blocks, holders) = (cost.endpoints, cost.blocks, cost.holders.name());
        print_goal(
            median_us <= goal_us,
            &format!(
                "{endpoints} endpoints, {blocks} blocks held by {holders}: {median_us:.2} µs (goal {goal_us})"
            ),
        );
    }
    for few in signalbox().filter(|cost| cost.endpoints == ENDPOINTS[0]) {
        let same = |cost: &&DecisionCost| (cost.blocks, cost.holders) == (few.blocks, few.holders);
        let counts: Vec<_> = signalbox().filter(same).map(|cost| cost.allocations().1).collect();
        let is_constant = counts.iter().all(|count| *count == counts[0]);
        let (blocks, holders) = (few.blocks, few.holders.name());
        print_goal(
            is_constant,
            &format!(
                "{blocks} blocks held by {holders}: {counts:?} allocations with {ENDPOINTS:?} endpoints (goal: the same)"
            ),
        );
    }
}

fn print_goal(is_met: bool, line: &str) {
    println!("  {} {line}", if is_met { "met   " } else { "MISSED" });
}
