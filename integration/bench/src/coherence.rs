//! `coherence`: measures in virtual time how well several replicas decide as one.

mod burst;
mod kills;
mod replica_scaling;
mod same_pod;
mod workloads;

use std::path::PathBuf;

use workloads::Source;

/// Arguments of `coherence`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Conversation trace in Mooncake's format; without it conversations are generated
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Number of workloads per scene [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Run two short workloads per scene
    #[arg(long)]
    quick: bool,
}

/// Runs the benchmark and prints its tables.
///
/// # Errors
/// Fails when the trace cannot be read.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let seeds = args.seeds.unwrap_or(if args.quick { 2 } else { 5 });
    let source = Source::load(args.trace.as_deref(), args.quick)?;
    println!("{}", source.describe());
    let rated = source.rate_workloads(seeds)?;
    replica_scaling::print(&rated);
    burst::print(seeds);
    kills::print(&rated);
    Ok(())
}

/// Returns the status of a goal for a table.
fn goal_status(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}
