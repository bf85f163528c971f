//! `scale-out`: measures what a large pool costs its owner and each replica. Time is virtual; the CPU time of each part
//! is measured on one thread.

mod costs;
mod eviction;
mod goals;
mod growth;
mod late_inheritance;
mod measured_owner;
mod measured_replica;
mod memory;
mod prompts;
mod rare_folds;
mod report;
mod run;
mod sending_replica;
mod servers;
mod shape;
mod stopwatch;
mod traffic;

use std::path::PathBuf;

use signalbox_bench_report::write_report;

use report::Results;
use shape::Shape;

/// The measured pools: endpoints, requests per second, replicas.
const SHAPES: [(usize, usize, usize); 6] = [
    (1_000, 1_000, 8),
    (1_000, 10_000, 8),
    (1_000, 50_000, 32),
    (10_000, 1_000, 8),
    (10_000, 10_000, 32),
    (10_000, 50_000, 32),
];

/// Arguments of `scale-out`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Virtual seconds to measure
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure only pools with N endpoints
    #[arg(long, value_name = "N")]
    endpoints: Option<usize>,
    /// Measure only pools with N requests per second
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// Write all measurements to FILE as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
}

impl Args {
    fn shapes(&self) -> impl Iterator<Item = Shape> {
        let all = SHAPES.into_iter().map(|(endpoints, requests_per_second, replicas)| Shape {
            endpoints,
            requests_per_second,
            replicas,
        });
        all.filter(|shape| {
            self.endpoints.is_none_or(|only| only == shape.endpoints)
                && self.requests.is_none_or(|only| only == shape.requests_per_second)
        })
    }
}

/// Runs the benchmark, prints each result when it is there, and writes all of them.
///
/// # Errors
/// Fails when the measurements cannot be written, when the process did not get the huge pages that it asked for, and
/// with `--check` when a goal is missed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // On a thread of its own, as actors are: the C library gives other threads memory from other arenas than it
    // gives the main thread, and other pages.
    let result = std::thread::scope(|scope| scope.spawn(|| measure(args)).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn measure(args: &Args) -> anyhow::Result<()> {
    let mut results = Results::default();
    report::print_header();
    for shape in args.shapes() {
        let costs = run::run(shape, args.seconds);
        report::print_shape(&shape, &costs);
        results.shapes.push((shape, costs));
    }
    report::print_memory(&results.shapes);
    report::print_snapshots(&results.shapes);
    report::print_rare_folds(&results.shapes);
    if args.requests.is_none() {
        let sizes =
            [1_000, 10_000].into_iter().filter(|size| args.endpoints.is_none_or(|only| only == *size));
        results.growth = sizes.clone().map(growth::measure).collect();
        report::print_growth(&results.growth);
        results.eviction = sizes.flat_map(eviction::measure).collect();
        report::print_eviction(&results.eviction);
    }
    if let Some(path) = &args.output {
        write_report(path, &results)?;
    }
    let missed = goals::print(&results);
    anyhow::ensure!(!args.check || missed == 0, "{missed} goals are missed");
    results.shapes.last().map_or(Ok(()), |(_, costs)| costs.memory.check_huge_pages())
}
