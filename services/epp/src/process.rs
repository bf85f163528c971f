//! Runs a replica as a process, from flags to an exit code.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use signalbox_telemetry::{LogFormat, TraceSettings, init_logs, stop_requested};
use signalbox_types::PageSettings;

use crate::app::{Epp, PortFlags};
use crate::config::EppConfig;
use crate::flags::{EX_USAGE, Flags, IgnoredFlag, LoadedPolicy, Output};

const PORT_FLAGS: PortFlags = PortFlags {
    ext_proc: "--grpc-port",
    health: "--grpc-health-port",
    access_log: "--access-log-port",
    metrics: "--metrics-port",
};

/// Runs a replica until it is asked to stop.
///
/// # Errors
/// The replica cannot start, or cannot follow its only pool any more.
#[expect(
    clippy::print_stderr,
    reason = "configuration errors must reach the user regardless of the log filter"
)]
pub async fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    let go_epp = &flags.go_epp;
    let format = flags.log_format.or(go_epp.zap_encoder.map(LogFormat::from)).unwrap_or_default();
    init_logs(format, go_epp.log_filter());
    for IgnoredFlag { flag, instead } in &flags.ignored_go_epp.ignored {
        tracing::warn!(flag, instead, "ignoring a flag of the Go EPP");
    }
    let stop = stop_requested()?;
    let tracing = match TraceSettings::from_env("signalbox-epp") {
        Ok(tracing) => tracing.filter(|_| flags.go_epp.tracing),
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let loaded = match flags.policy.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let config = match flags.config() {
        Ok(config) => {
            let LoadedPolicy { policy, flow_control, parsers, pages } = loaded;
            if pages != PageSettings::default() {
                tracing::info!(
                    "what the configuration says of metrics pages has its effect at aggregators: give them the file by --config-file, too"
                );
            }
            EppConfig { policy, flow_control, parsers, tracing, ..config }
        }
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let epp = Epp::start(config, PORT_FLAGS).await?;
    let (health, metrics, access_log) =
        (epp.health_address(), epp.metrics_address(), epp.access_log_address());
    let ext_proc = epp.ext_proc_address().map(tracing::field::display);
    tracing::info!(ext_proc, %health, %access_log, %metrics, "listening");
    let announce = async {
        epp.ready().await;
        tracing::info!("ready");
        if flags.output == Some(Output::Json) {
            println!("{}", addresses(&epp));
        }
        std::future::pending().await
    };
    let failure = tokio::select! {
        () = stop => None,
        failure = epp.failed() => Some(failure),
        () = announce => None,
    };
    tracing::info!("draining");
    epp.stop().await;
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => bail!("the replica cannot follow the pool any more: {failure}; restart it"),
    }
}

fn addresses(epp: &Epp) -> serde_json::Value {
    json!({
        "ext_proc": epp.ext_proc_address().map(|address| address.to_string()),
        "health": epp.health_address().to_string(),
        "access_log": epp.access_log_address().to_string(),
        "metrics": epp.metrics_address().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use crate::app::MAX_EXIT;
    use crate::flags::Flags;

    /// Kubernetes kills a process 30 s after SIGTERM by default.
    #[test]
    fn process_ends_in_time_with_the_defaults() {
        let flags = Flags::parse_from(["signalbox-epp", "--aggregator=localhost:9100"]);
        assert!(MAX_EXIT < Duration::from_secs(3), "the margin that the documentation names");
        assert!(flags.drain_delay + flags.drain_timeout + MAX_EXIT < Duration::from_secs(30));
    }
}
