//! The `signalbox` command-line tool.

mod check_config;
mod decision_table;
mod epp_client;
mod exit_codes;
mod explain;
mod gateway;
mod header_flag;
mod input;
mod load;
mod output;
mod replay;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use signalbox_telemetry::exit_code;

use check_config::CheckConfigArgs;
use exit_codes::{NO, USAGE, of_reader, of_up, or_error_code, usage};
use explain::ExplainArgs;
use load::{LoadArgs, LoadError, PlanError, Served};
use replay::ReplayArgs;
use up::UpArgs;

/// Signalbox: an endpoint picker for inference gateways whose replicas share their state
#[derive(Parser)]
#[command(name = "signalbox", version, propagate_version = true, after_help = exit_codes::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a complete system in one process, by default with simulated model servers
    Up(Box<UpArgs>),
    /// Send a workload to a gateway or model server and report throughput, latency, cache hits and the spread over endpoints
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
        Command::Up(args) => or_error_code(runtime.block_on(up::run(*args)), of_up),
        Command::Explain(args) => or_error_code(runtime.block_on(explain::run(args)), of_reader),
        Command::CheckConfig(args) => or_error_code(check_config::run(&args), of_reader),
        Command::Replay(args) => or_error_code(replay::run(&args), of_reader),
        Command::Load(args) => match runtime.block_on(load::run(*args)) {
            Ok(Served::All) => Ok(ExitCode::SUCCESS),
            Ok(Served::Partly) => Ok(ExitCode::from(NO)),
            Err(LoadError::Plan(PlanError::Usage(reason))) => usage(&reason),
            Err(LoadError::Print(error)) => or_error_code(Err(error.into()), of_reader),
            Err(error) => or_error_code(Err(error.into()), of_reader),
        },
    }
}
