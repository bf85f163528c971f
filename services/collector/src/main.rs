//! The collector as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use signalbox_collector::{Arguments, run};
use signalbox_telemetry::exit_code;

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}
