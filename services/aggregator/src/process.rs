//! An aggregator as a process: from flags to an exit code.

use std::process::ExitCode;

use serde_json::json;
use signalbox_telemetry::{init_logs, stop_requested};

use crate::app::{Aggregator, PortFlags};
use crate::config::{AggregatorConfig, Flags, Output};
use crate::endpoints_file;
use crate::source::Source;

/// The exit code for input that cannot be used, as in sysexits.h.
const EX_USAGE: u8 = 64;

const PORT_FLAGS: PortFlags = PortFlags { listen: "--port", metrics: "--metrics-port" };

/// Runs an aggregator until it is asked to end.
///
/// # Errors
/// When it cannot start or cannot go on.
#[expect(clippy::print_stderr, reason = "errors of flags and files are for the person who started it")]
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
    let config = match AggregatorConfig::of(&flags) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let sources = flags.endpoints.into_iter().zip(specs).map(|(path, spec)| Source::File(path, spec));
    let aggregator = Aggregator::start(config, sources.collect(), PORT_FLAGS).await?;
    let (address, metrics) = (aggregator.address(), aggregator.metrics_address());
    tracing::info!(%address, %metrics, "aggregator ready");
    if flags.output == Some(Output::Json) {
        println!("{}", json!({ "aggregator": address.to_string(), "metrics": metrics.to_string() }));
    }
    tokio::select! {
        () = stop => {}
        () = aggregator.failed() => anyhow::bail!("the aggregator cannot go on"),
    }
    aggregator.stop().await;
    Ok(ExitCode::SUCCESS)
}
