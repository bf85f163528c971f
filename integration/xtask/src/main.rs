//! The tasks of a developer, run as `cargo xtask`.

mod envoy;
mod steps;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::steps::Step;
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
}

fn main() -> ExitCode {
    let Task::Test { only } = Arguments::parse().task;
    match Workspace::locate().and_then(|workspace| steps::run(only, &workspace)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace, which would push what is to be done about it out of sight.
            let _ = writeln!(io::stderr(), "\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
