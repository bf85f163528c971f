//! The binary `signalbox-modelsim`: simulated model servers.

use std::process::ExitCode;

use clap::Parser;
use signalbox_modelsim::{Flags, app};
use signalbox_telemetry::exit_code;

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(app::run(&Flags::parse()).await.map(|()| ExitCode::SUCCESS))
}
