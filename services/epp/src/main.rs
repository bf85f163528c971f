//! The `signalbox-epp` process: one EPP replica.

use std::process::ExitCode;

use signalbox_epp::{Flags, run};
use signalbox_telemetry::exit_code;

#[tokio::main]
async fn main() -> ExitCode {
    match Flags::read(std::env::args_os()) {
        Ok(flags) => exit_code(run(flags).await),
        Err(error) => error.print(),
    }
}
