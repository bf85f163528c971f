//! The command people type.

mod account;
mod ask;
mod check_config;
mod explain;
mod gateway;
mod load;
mod replay;
mod up;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use signalbox_telemetry::exit_code;

use check_config::CheckConfigArgs;
use explain::ExplainArgs;
use load::{LoadArgs, LoadError, Served};
use replay::ReplayArgs;
use up::UpArgs;

/// The exit code for flags that are wrong (`EX_USAGE`).
const USAGE: u8 = 64;

/// An endpoint picker whose replicas decide as one.
#[derive(Parser)]
#[command(name = "signalbox", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process, with simulated model servers unless told otherwise
    Up(Box<UpArgs>),
    /// Send a workload and measure how it is served
    Load(Box<LoadArgs>),
    /// Ask a running EPP where a request would go, or where the latest ones went, and why
    Explain(ExplainArgs),
    /// Say in words what a configuration file will do, or all that is wrong with it
    CheckConfig(CheckConfigArgs),
    /// Make recorded decisions again
    Replay(ReplayArgs),
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody listens: there is nobody to tell.
            let _ = error.print();
            return Ok(if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS });
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command {
        Command::Up(args) => runtime.block_on(up::run(*args)),
        Command::Explain(args) => runtime.block_on(explain::run(args)),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Load(args) => match runtime.block_on(load::run(*args)) {
            Ok(Served::All) => Ok(ExitCode::SUCCESS),
            Ok(Served::Partly) => Ok(ExitCode::FAILURE),
            Err(LoadError::Usage(reason)) => {
                writeln!(std::io::stderr(), "error: {reason}")?;
                Ok(ExitCode::from(USAGE))
            }
            Err(error) => Err(error.into()),
        },
    }
}
