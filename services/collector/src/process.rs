//! A collector as a process: from flags to an exit code.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use signalbox_telemetry::{init_logs, stop_requested};

use crate::app::Collector;
use crate::config::{Arguments, Output};

/// Runs a collector until it is asked to end.
///
/// # Errors
/// When it cannot start or cannot go on.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    init_logs(arguments.log_format, "info");
    let output = arguments.output;
    let stop = stop_requested()?;
    let collector = Collector::start(arguments.into_config(), "--metrics-port").await?;
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
