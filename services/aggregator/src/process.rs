//! Runs an aggregator as a process, from the flags to the exit code.

use std::process::ExitCode;

use serde_json::json;
use signalbox_telemetry::{init_logs, stop_requested};

use crate::app::{Aggregator, PortFlags};
use crate::config::{AggregatorConfig, Flags, Output};
use crate::endpoints_file;
use crate::pool_source::PoolSource;

/// Exit code for unusable input, as in sysexits.h.
const EX_USAGE: u8 = 64;

const PORT_FLAGS: PortFlags = PortFlags { listen: "--port", metrics: "--metrics-port" };

/// Runs an aggregator until it receives a signal to stop.
///
/// # Errors
/// When the aggregator cannot start, or fails.
#[expect(
    clippy::print_stderr,
    reason = "errors in flags and files are for the person who started the process"
)]
pub async fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    init_logs(flags.log_format, "info");
    let stop = stop_requested()?;
    let read: Result<Vec<_>, _> = flags.endpoints.iter().map(|path| endpoints_file::read(path)).collect();
    let specs = match read {
        Ok(specs) => specs,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let config = match AggregatorConfig::from_flags(&flags) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let sources = flags.endpoints.into_iter().zip(specs).map(|(path, spec)| PoolSource::File(path, spec));
    let aggregator = Aggregator::start(config, sources.collect(), PORT_FLAGS).await?;
    let (address, metrics) = (aggregator.address(), aggregator.metrics_address());
    tracing::info!(%address, %metrics, "aggregator ready");
    if flags.output == Some(Output::Json) {
        println!("{}", json!({ "aggregator": address.to_string(), "metrics": metrics.to_string() }));
    }
    tokio::select! {
        () = stop => {}
        () = aggregator.failed() => anyhow::bail!("the aggregator failed; see the log"),
    }
    aggregator.stop().await;
    Ok(ExitCode::SUCCESS)
}
