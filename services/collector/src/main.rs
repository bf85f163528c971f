//! The collector's process.

use anyhow::bail;
use clap::Parser;
use signalbox_collector::{Arguments, Collector, Output};
use signalbox_telemetry::{init_logs, stop_requested};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    init_logs(arguments.log_format, "info");
    let output = arguments.output;
    let stop = stop_requested()?;
    let collector = Collector::start(arguments.into_config(), "--metrics-port").await?;
    if output == Some(Output::Json) {
        println!("{}", serde_json::json!({ "metrics": collector.metrics_address().to_string() }));
    }
    tokio::select! {
        () = stop => collector.shutdown().await,
        () = collector.ended() => bail!("the collector failed"),
    }
    Ok(())
}
