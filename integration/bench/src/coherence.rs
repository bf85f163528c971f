//! `coherence`: how well replicas decide as one, in virtual time.

mod burst;
mod kills;
mod same_pod;
mod sharing;
mod statistics;
mod workloads;

use std::path::PathBuf;

use workloads::Source;

/// The arguments of `coherence`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Conversation trace in Mooncake's format; a generated one without it
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Workloads of each profile [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Two workloads of each profile, and short ones
    #[arg(long)]
    quick: bool,
}

/// Runs the bench and prints its tables.
///
/// # Errors
/// A trace that cannot be read.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let seeds = args.seeds.unwrap_or(if args.quick { 2 } else { 5 });
    let source = Source::load(args.trace.as_deref(), args.quick)?;
    println!("{}", source.describe());
    let staged = source.stage(seeds)?;
    sharing::print(&staged);
    burst::print(seeds);
    kills::print(&staged);
    Ok(())
}

/// Whether a goal is met, in words.
fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}
