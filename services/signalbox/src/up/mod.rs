//! `signalbox up`: a complete system in one process.

mod args;
mod envoy;
mod live_summary;
mod simulator_count;
mod simulators;
mod startup_message;
mod system;

use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;

use futures_util::future::select_all;
use signalbox_aggregator::Aggregator;
use signalbox_collector::CollectorHandle;
use signalbox_telemetry::{init_logs, stop_requested};

pub(crate) use args::UpArgs;
use system::System;

use crate::exit_codes::usage;
use crate::output::{Output, PrintError};

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
    let system = System::start(&args).await?;
    let message = match args.output {
        Output::Json => startup_message::as_json(&system).to_string(),
        Output::Text => startup_message::as_text(&system),
    };
    writeln!(stdout(), "{message}").and_then(|()| stdout().flush()).map_err(PrintError)?;
    let summary = async {
        if is_live {
            live_summary::show(&system, args.autoscale).await;
        }
        std::future::pending::<()>().await;
    };
    let autoscaling = async {
        // Any aggregator knows the answer.
        let scaler = system.aggregators.first().and_then(Aggregator::keda_address);
        if let (Some(simulators), Some(scaler)) = (&system.simulators, scaler) {
            simulators.autoscale(&args, &system.epps, scaler).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop => {}
        () = autoscaling => {}
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
