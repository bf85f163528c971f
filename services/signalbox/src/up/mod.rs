//! `signalbox up`: everything in one process.

mod args;
mod envoy;
mod ready;
mod summary;
mod system;

use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;

use signalbox_aggregator::endpoints_file::ReadError;
use signalbox_telemetry::{TraceError, init_logs, stop_requested};

use args::Output;
pub(crate) use args::UpArgs;
use system::System;

/// Runs everything until Ctrl-C.
///
/// # Errors
/// When a part cannot start, or output is closed.
pub(crate) async fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    let is_live = args.output == Output::Text && stdout().is_terminal();
    init_logs(args.log_format, if is_live { "warn" } else { "info" });
    let stop = stop_requested()?;
    let system = match System::start(&args).await {
        Ok(system) => system,
        Err(error) if error.is::<ReadError>() || error.is::<TraceError>() => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(crate::USAGE));
        }
        Err(error) => return Err(error),
    };
    match args.output {
        Output::Json => writeln!(stdout(), "{}", ready::as_json(&system))?,
        Output::Text => writeln!(stdout(), "{}", ready::as_text(&system))?,
    }
    stdout().flush()?;
    let summary = async {
        if is_live {
            summary::show(&system.epps).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop => {}
        () = summary => {}
        () = system.aggregator.failed() => anyhow::bail!("the aggregator cannot go on"),
        () = system.collector.ended() => anyhow::bail!("the collector cannot go on"),
    }
    tracing::info!("draining");
    system.stop().await;
    Ok(ExitCode::SUCCESS)
}
