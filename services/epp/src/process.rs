//! A replica as a process: from flags to an exit code.

use std::process::ExitCode;

use serde_json::json;
use signalbox_telemetry::{LogFormat, TraceSettings, init_logs, stop_requested};

use crate::app::{Epp, PortFlags};
use crate::config::{EppConfig, Flags, Output};
use crate::go_epp_ignored_flags::Note;

/// The exit code for input that cannot be used, as in sysexits.h.
pub(crate) const EX_USAGE: u8 = 64;

const PORT_FLAGS: PortFlags = PortFlags {
    ext_proc: "--grpc-port",
    health: "--grpc-health-port",
    access_log: "--access-log-port",
    metrics: "--metrics-port",
};

/// Runs a replica until it is asked to end.
///
/// # Errors
/// When it cannot start.
#[expect(clippy::print_stderr, reason = "wrong flags are for the person who set them")]
pub async fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    let familiar = &flags.familiar;
    let format = flags.log_format.or(familiar.zap_encoder.map(LogFormat::from)).unwrap_or_default();
    init_logs(format, familiar.log_filter());
    for Note { flag, instead } in &flags.unbooked_requests.notes {
        tracing::warn!("--{flag} has no effect here: {instead}");
    }
    let stop = stop_requested()?;
    let tracing = match TraceSettings::from_env("signalbox-epp") {
        Ok(tracing) => tracing.filter(|_| flags.familiar.tracing),
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let chosen = match flags.policy.read() {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let config = match EppConfig::of(&flags) {
        Ok(config) => EppConfig { policy: chosen.policy, parsers: chosen.parsers, tracing, ..config },
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let epp = Epp::start(config, PORT_FLAGS).await?;
    let (ext_proc, health, metrics) = (epp.ext_proc_address(), epp.health_address(), epp.metrics_address());
    let access_log = epp.access_log_address();
    tracing::info!(%ext_proc, %health, %access_log, %metrics, "listening");
    tokio::pin!(stop);
    tokio::select! {
        () = epp.ready() => {
            tracing::info!("ready");
            if flags.output == Some(Output::Json) {
                let addresses = json!({
                    "ext_proc": ext_proc.to_string(),
                    "health": health.to_string(),
                    "access_log": access_log.to_string(),
                    "metrics": metrics.to_string(),
                });
                println!("{addresses}");
            }
            stop.await;
        }
        () = &mut stop => {}
    }
    tracing::info!("draining");
    epp.stop().await;
    Ok(ExitCode::SUCCESS)
}
