//! The collector process.

use std::process::ExitCode;

use clap::Parser;
use signalbox_collector::{Flags, run};
use signalbox_telemetry::exit_code;

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Flags::parse()).await)
}
