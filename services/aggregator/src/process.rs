//! Runs an aggregator as a process, from the flags to the exit code.

use std::process::ExitCode;

use serde_json::{Value, json};
use signalbox_document::read_file;
use signalbox_kube::Cluster;
use signalbox_telemetry::{init_logs, stop_requested};
use signalbox_types::PageSettings;

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
    // The errors of the Kubernetes client are logged with their context where they are handled.
    init_logs(flags.log_format, "info,kube_client=off");
    let stop = stop_requested()?;
    let (config, sources) = match prepare(&flags).await {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("{error:#}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let aggregator = Aggregator::start(config, sources, PORT_FLAGS).await?;
    let (address, metrics) = (aggregator.address(), aggregator.metrics_address());
    tracing::info!(%address, %metrics, "aggregator started");
    if flags.output == Some(Output::Json) {
        println!("{}", addresses(&aggregator));
    }
    tokio::select! {
        () = stop => {}
        () = aggregator.failed() => anyhow::bail!("the aggregator failed; see the log"),
    }
    aggregator.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Returns the addresses of the ports that are served.
fn addresses(aggregator: &Aggregator) -> Value {
    let mut addresses = json!({
        "aggregator": aggregator.address().to_string(),
        "metrics": aggregator.metrics_address().to_string(),
    });
    let optional = [("keda", aggregator.keda_address()), ("metrics_api", aggregator.metrics_api_address())];
    for (name, address) in optional {
        if let Some(address) = address {
            addresses[name] = json!(address.to_string());
        }
    }
    addresses
}

/// Reads the files that `flags` name. Nothing else needs to be available yet.
async fn prepare(flags: &Flags) -> anyhow::Result<(AggregatorConfig, Vec<PoolSource>)> {
    let pages = match &flags.pools.config_file {
        Some(path) => read_file(path, signalbox_config::parse)?.pages,
        None => PageSettings::default(),
    };
    let mut sources = Vec::new();
    for path in &flags.pools.endpoints {
        sources.push(PoolSource::File(path.clone(), endpoints_file::read(path, &pages)?, pages.clone()));
    }
    let cluster = match flags.needs_cluster() {
        true => Some(Cluster::connect(&flags.kubernetes.cluster_settings()).await?),
        false => None,
    };
    if let Some((cluster, settings)) = cluster.clone().zip(flags.pools.kubernetes(&pages)) {
        tracing::info!(server = cluster.server(), ?settings, "reading the pools from Kubernetes");
        sources.push(PoolSource::Kubernetes(cluster, settings));
    }
    Ok((AggregatorConfig::from_flags(flags, cluster.as_ref())?, sources))
}
