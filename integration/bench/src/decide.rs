//! `decide`: measures the cost of a decision, single-threaded and in memory, as on the request path of an
//! EPP: parsing the body and hashing its prompt, the lookup of the prompt and of the replica's own load, and the
//! choice. Then what flow control adds while the pool is not full.

mod admission;
mod fixture;
mod measure;
mod report;

use std::path::PathBuf;

use signalbox_bench_report::{Provenance, write_report};
use signalbox_schedule::Policy;

use crate::policies::go;
use fixture::{Fill, Fixture, Holders};
use measure::RunCost;
pub(crate) use report::doc_tables;
use report::{DecisionCost, Report};

/// Pool sizes.
const ENDPOINTS: [usize; 3] = [10, 100, 1_000];

/// Lengths of the short and the long prompts in blocks.
const SHORT_BLOCKS: usize = 8;
const LONG_BLOCKS: usize = 6_250;

/// The kinds of prompts: their length, and who holds them.
const PROMPTS: [(usize, Holders); 4] = [
    (SHORT_BLOCKS, Holders::Nobody),
    (SHORT_BLOCKS, Holders::Some),
    (LONG_BLOCKS, Holders::Some),
    (LONG_BLOCKS, Holders::All),
];

/// Name of the default policy.
const LEAST_TIME: &str = "least time";

/// Arguments of `decide`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of pools to measure, each generated from its own seed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Number of decisions to time for each
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..))]
    decisions: u32,
}

/// Runs the benchmark, prints its table and writes its measurements.
///
/// # Errors
/// Fails when the measurements cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (mut costs, mut admission) = (Vec::new(), Vec::new());
    for endpoints in ENDPOINTS {
        admission.extend(admission::measure_all(args, endpoints));
        for (blocks, holders) in PROMPTS {
            costs.extend(measure_all(args, endpoints, blocks, holders));
        }
    }
    let Args { seeds, decisions, .. } = *args;
    let report = Report { provenance: Provenance::collect()?, seeds, decisions, costs, admission };
    println!("{}", report.to_markdown());
    if let Some(path) = &args.output {
        write_report(path, &report)?;
    }
    Ok(())
}

/// Measures each policy on the same pools and prompts.
fn measure_all(args: &Args, endpoints: usize, blocks: usize, holders: Holders) -> Vec<DecisionCost> {
    let policies = [(LEAST_TIME, Policy::default()), ("weighted, Go's default", go::default())];
    let cost = |(name, _): &(&str, Policy)| {
        let policy = (*name).to_owned();
        DecisionCost { policy, endpoints, blocks, holders, runs: Vec::new() }
    };
    let mut costs: Vec<_> = policies.iter().map(cost).collect();
    for seed in 0..args.seeds {
        let fixture = Fixture::new(seed, endpoints, blocks, holders, Fill::All);
        for (cost, (_, policy)) in costs.iter_mut().zip(&policies) {
            cost.runs.push(RunCost::measure(&fixture, policy, args.decisions));
        }
    }
    costs
}
