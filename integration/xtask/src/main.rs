//! The development tasks, run as `cargo xtask TASK`.

mod bench;
mod chart_readme;
mod fuzz;
mod kubernetes_tools;
mod sim;
mod steps;
mod suite;
mod tools;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::steps::{Part, Step};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// Runs the tests, benchmarks and failure tests of Signalbox
///
/// Start with `cargo xtask test`: it needs only Rust, a C compiler and Python 3 on Linux, and it is what CI runs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check formatting, lints, all tests and dependency rules, as CI does
    ///
    /// Downloads Envoy and etcd for the end-to-end tests, and builds a Kubernetes control plane from Go modules, on
    /// first use. Stops at the first step that fails.
    Test {
        /// Run only this step, and the steps that it needs
        #[arg(long, value_enum, value_name = "STEP")]
        only: Option<Step>,
        /// Leave this part out, with everything that only it needs
        #[arg(long, value_enum, value_name = "PART")]
        without: Vec<Part>,
    },
    /// Run a benchmark (release build)
    ///
    /// `cargo xtask help bench` lists the benchmarks. All arguments after the name go to the benchmark: `cargo xtask
    /// bench routing --help` lists its options.
    #[command(disable_help_flag = true)]
    Bench {
        /// Benchmark to run
        #[arg(value_enum)]
        bench: Bench,
        /// Arguments for the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Kill, pause and isolate real processes under load (release build)
    ///
    /// All arguments go to the failure tests: `cargo xtask chaos --help` lists their options. docs/CHAOS.md
    /// describes them.
    #[command(disable_help_flag = true)]
    Chaos {
        /// Arguments for the failure tests
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Fuzz every parser of untrusted input, and flow control, with random bytes (release build)
    ///
    /// All arguments go to the fuzzer: `cargo xtask fuzz --help` lists its options.
    #[command(disable_help_flag = true)]
    Fuzz {
        /// Arguments for the fuzzer
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Simulate pools under random faults and check every invariant (release build)
    ///
    /// Each seed is one simulated pool. docs/INVARIANTS.md describes the invariants.
    Sim {
        /// Number of seeds to run
        #[arg(long, default_value_t = 5_000)]
        seeds: u64,
        /// First seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Run all seeds and print one line per failure, instead of stopping at the first one with a full
        /// report
        #[arg(long)]
        keep_going: bool,
    },
    /// Write the README of the Helm chart from the comments in its values.yaml
    ChartReadme,
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    let run = |workspace: Workspace| match task {
        Task::Test { only, without } => steps::run(only, &without, &workspace),
        Task::Bench { bench, arguments } => bench.run(&arguments, &workspace),
        Task::Fuzz { arguments } => fuzz::run(&arguments, &workspace),
        Task::Sim { seeds, from, keep_going } => sim::run(seeds, from, keep_going, &workspace),
        Task::ChartReadme => chart_readme::write(workspace.root()),
        Task::Chaos { arguments } => Suite::Chaos.run(&arguments, &workspace),
    };
    match Workspace::locate().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // No backtrace: it would push the error, which says what to do, out of sight.
            let _ = writeln!(io::stderr(), "\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
