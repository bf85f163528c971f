//! Runs a collector as a process, from the flags to the exit code.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use signalbox_telemetry::{init_logs, stop_requested};

use crate::app::Collector;
use crate::config::{Flags, Output};

/// Exit code for unusable input, as in sysexits.h.
const EX_USAGE: u8 = 64;

/// Runs a collector until it receives a signal to stop.
///
/// # Errors
/// When the collector cannot start, or fails.
#[expect(clippy::print_stderr, reason = "errors in flags are for the person who started the process")]
pub async fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    init_logs(flags.log_format, "info");
    let output = flags.output;
    let stop = stop_requested()?;
    let config = match flags.into_config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let collector = Collector::start(config, "--metrics-port").await?;
    if output == Some(Output::Json) {
        println!("{}", json!({ "metrics": collector.metrics_address().to_string() }));
    }
    tokio::select! {
        () = stop => {}
        () = collector.ended() => bail!("the collector failed; see the log"),
    }
    collector.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
