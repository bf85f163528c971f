//! Benchmarks of decisions; run them with `cargo xtask bench NAME`.

mod coherence;
mod decide;
mod doc_tables;
mod flow;
mod parallel;
mod policies;
mod routing;
mod scale;
mod scale_out;
mod seeds;
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
    /// Replay workloads over simulated pods in virtual time and compare policies
    Routing(routing::Args),
    /// Replay workloads through 1 to 8 replicas in virtual time and compare the results
    Coherence(coherence::Args),
    /// Time decisions and count their allocations
    Decide(decide::Args),
    /// Measure the CPU time of a large pool's owner, its streams and a replica, in virtual time
    ScaleOut(scale_out::Args),
    /// Compare flow control with none and with that of the Go EPP, in virtual time
    Flow(flow::Args),
    /// Compare the autoscaling signal with recipes for KEDA and with a plan that knows the future, in virtual time
    Scale(scale::Args),
    /// Write the tables of the pages in docs from the results in docs/results
    Tables,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().bench {
        Bench::Routing(args) => routing::run(&args),
        Bench::Coherence(args) => coherence::run(&args),
        Bench::Decide(args) => decide::run(&args),
        Bench::ScaleOut(args) => scale_out::run(&args),
        Bench::Flow(args) => flow::run(&args),
        Bench::Scale(args) => scale::run(&args),
        Bench::Tables => doc_tables::run(),
    }
}
