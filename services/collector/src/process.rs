//! A collector as a process: from flags to an exit code.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use signalbox_telemetry::{init_logs, stop_requested};

use crate::app::Collector;
use crate::config::{Arguments, Output};

/// The exit code for input that cannot be used, as in sysexits.h.
const EX_USAGE: u8 = 64;

/// Runs a collector until it is asked to end.
///
/// # Errors
/// When it cannot start or cannot go on.
#[expect(clippy::print_stderr, reason = "wrong flags are for the person who set them")]
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    init_logs(arguments.log_format, "info");
    let output = arguments.output;
    let stop = stop_requested()?;
    let config = match arguments.into_config() {
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
        () = collector.ended() => bail!("the collector cannot go on"),
    }
    collector.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
