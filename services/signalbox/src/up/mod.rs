//! `signalbox up`: a complete system in one process.

mod args;
mod envoy;
mod live_summary;
mod startup_message;
mod system;

use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;

use futures_util::future::select_all;
use signalbox_aggregator::Aggregator;
use signalbox_aggregator::endpoints_file::ReadError;
use signalbox_collector::CollectorHandle;
use signalbox_lease::CoordinatorUrlError;
use signalbox_telemetry::{TraceError, init_logs, stop_requested};

pub(crate) use args::UpArgs;
use system::System;

use crate::exit_codes::usage;
use crate::output::Output;

/// Runs the system until Ctrl-C.
///
/// # Errors
/// When a component cannot start or stops unexpectedly, or stdout is closed.
pub(crate) async fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    if let Err(reason) = args.check() {
        return usage(&reason);
    }
    let is_live = args.output == Output::Text && stdout().is_terminal();
    init_logs(args.log_format, if is_live { "warn" } else { "info" });
    let stop = stop_requested()?;
    let system = match System::start(&args).await {
        Ok(system) => system,
        Err(error)
            if error.is::<ReadError>() || error.is::<TraceError>() || error.is::<CoordinatorUrlError>() =>
        {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(crate::USAGE));
        }
        Err(error) => return Err(error),
    };
    match args.output {
        Output::Json => writeln!(stdout(), "{}", startup_message::as_json(&system))?,
        Output::Text => writeln!(stdout(), "{}", startup_message::as_text(&system))?,
    }
    stdout().flush()?;
    let summary = async {
        if is_live {
            live_summary::show(&system).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop => {}
        () = summary => {}
        () = any(system.aggregators.iter().map(Aggregator::failed)) => anyhow::bail!("an aggregator failed; see the log"),
        () = any(system.collectors.iter().map(CollectorHandle::ended)) => anyhow::bail!("a collector stopped; see the log"),
    }
    tracing::info!("draining");
    system.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Completes when one of the futures does.
async fn any(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    select_all(futures.map(Box::pin)).await;
}
