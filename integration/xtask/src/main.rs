//! The tasks of a developer, run as `cargo xtask`.

mod bench;
mod fuzz;
mod sim;
mod steps;
mod suite;
mod tools;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::steps::Step;
use crate::suite::Suite;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The tasks of a developer")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formatting, lints, all tests (end-to-end ones with real Envoy included), dependency rules
    Test {
        /// Only this step, and what it needs
        #[arg(long, value_enum, value_name = "STEP")]
        only: Option<Step>,
    },
    /// A benchmark, built for release; what follows its name goes to it, --help too
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(value_enum)]
        bench: Bench,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Processes and connections broken under load, built for release; what follows goes to the suite, --help too
    #[command(disable_help_flag = true)]
    Chaos {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Bytes without sense for everything that reads what others send; what follows says what, and for how long
    #[command(disable_help_flag = true)]
    Fuzz {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Pools under simulated faults, one for each seed, built for release
    Sim {
        /// How many seeds
        #[arg(long, default_value_t = 5_000)]
        seeds: u64,
        /// The first one
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Goes on after a failure, and tells only what failed
        #[arg(long)]
        keep_going: bool,
    },
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    let run = |workspace: Workspace| match task {
        Task::Test { only } => steps::run(only, &workspace),
        Task::Bench { bench, arguments } => bench.run(&arguments, &workspace),
        Task::Fuzz { arguments } => fuzz::run(&arguments, &workspace),
        Task::Sim { seeds, from, keep_going } => sim::run(seeds, from, keep_going, &workspace),
        Task::Chaos { arguments } => Suite::Chaos.run(&arguments, &workspace),
    };
    match Workspace::locate().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace, which would push what is to be done about it out of sight.
            let _ = writeln!(io::stderr(), "\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
