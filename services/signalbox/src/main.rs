//! The `signalbox` command-line tool.

mod check_config;
mod decision_table;
mod epp_client;
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

/// Exit code for invalid flags (`EX_USAGE`).
const USAGE: u8 = 64;

/// Signalbox: an endpoint picker for inference gateways whose replicas share their state
#[derive(Parser)]
#[command(name = "signalbox", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a complete system in one process, by default with simulated model servers
    Up(Box<UpArgs>),
    /// Send a workload to a gateway or model server and report latency, cache hits and the spread over pods
    Load(Box<LoadArgs>),
    /// Ask a running EPP where a request would go and why, or explain its recent decisions; books nothing
    Explain(ExplainArgs),
    /// Validate a configuration file and describe its effect; exits with 1 if it is invalid
    CheckConfig(CheckConfigArgs),
    /// Repeat recorded decisions and compare the results; exits with 1 if one differs
    Replay(ReplayArgs),
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed stdout or stderr cannot be reported anywhere.
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
