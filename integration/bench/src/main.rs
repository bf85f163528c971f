//! Benchmarks of decisions, run as `cargo xtask bench NAME`.

mod coherence;
mod decide;
mod parallel;
mod policy;
mod routing;
mod sim;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "signalbox-bench", about = "Benchmarks of decisions")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Replays workloads over simulated pods, in virtual time, and compares policies
    Routing(routing::Args),
    /// Replays workloads through 1 to 8 replicas, in virtual time, and says what is lost
    Coherence(coherence::Args),
    /// Times decisions and counts their allocations
    Decide(decide::Args),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().bench {
        Bench::Routing(args) => routing::run(&args),
        Bench::Coherence(args) => coherence::run(&args),
        Bench::Decide(args) => decide::run(&args),
    }
}
