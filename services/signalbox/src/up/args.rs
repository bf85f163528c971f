//! What `signalbox up` is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use signalbox_epp::PolicyFlags;
use signalbox_modelsim::ModelConfig;
use signalbox_telemetry::LogFormat;

use crate::gateway::Dialling;

/// Run everything in one process: simulated model servers, collector, aggregator, EPP replicas and a gateway
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// Real model servers, instead of simulators
    #[arg(long, value_name = "FILE", conflicts_with = "simulators")]
    pub(super) endpoints: Option<PathBuf>,
    /// Number of simulated model servers
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) simulators: u16,
    /// Address of the first simulator; further ones follow at +1 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) simulator_listen: SocketAddr,
    /// How much faster than a real one a simulator works
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(super) simulator_speed: f64,
    /// Number of LoRA adapters that the simulators' model has, named adapter-0 and so on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(super) simulator_loras: u32,
    /// How many different LoRA adapters a simulator can run at once
    #[arg(long, value_name = "SLOTS", default_value_t = ModelConfig::default().max_loras)]
    pub(super) simulator_max_loras: u32,
    /// How many LoRA adapters a simulator's host memory holds [default: all]
    #[arg(long, value_name = "N")]
    pub(super) simulator_max_cpu_loras: Option<u32>,
    /// What it takes a simulator to load a LoRA adapter from disk
    #[arg(long, value_name = "MILLISECONDS", default_value_t = ModelConfig::default().lora_disk_load_us / 1_000)]
    pub(super) simulator_lora_load_ms: u64,
    /// What the replicas decide by.
    #[command(flatten)]
    pub(super) policy: PolicyFlags,
    /// Number of EPP replicas
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) epp_replicas: u16,
    /// Number of aggregators: one owns the pool, the others stand by
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) aggregators: u16,
    /// Number of collectors, which share the model servers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) collectors: u16,
    /// Where the parts find each other: in-process, or etcd://HOST:PORT[,HOST:PORT...]
    #[arg(long, value_name = "WHERE", default_value = "in-process")]
    pub(super) coordinator: String,
    /// A gateway of its own, for local use, Envoy, or none: bring your own
    #[arg(long, value_enum, default_value_t = GatewayKind::Embedded)]
    pub(super) gateway: GatewayKind,
    /// The Envoy of `--gateway envoy` [default: the one on the path]
    #[arg(long, value_name = "FILE", default_value = "envoy", hide_default_value = true)]
    pub(super) envoy: PathBuf,
    /// Address of the gateway, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(super) gateway_listen: SocketAddr,
    /// Address of the first EPP replica for gateways; further replicas follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9002")]
    pub(super) ext_proc_listen: SocketAddr,
    /// Serve gateways over TLS, with a certificate that is made at start and that they do not verify
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(super) secure_serving: bool,
    /// Address of the first EPP replica for health checks; further replicas follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9003")]
    pub(super) health_listen: SocketAddr,
    /// Address of the first EPP replica for access logs; further replicas follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9004")]
    pub(super) access_log_listen: SocketAddr,
    /// Address of the first EPP replica's metrics; further replicas follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub(super) metrics_listen: SocketAddr,
    /// Address of the first aggregator; further ones follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9200")]
    pub(super) aggregator_listen: SocketAddr,
    /// Address of the first aggregator's metrics; further ones follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9201")]
    pub(super) aggregator_metrics_listen: SocketAddr,
    /// Address of the first collector's metrics; further ones follow at +10 each, 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9202")]
    pub(super) collector_metrics_listen: SocketAddr,
    /// How log lines look: text or json
    #[arg(long, default_value_t)]
    pub(super) log_format: LogFormat,
    /// `json` prints exactly one line of JSON with all addresses once ready
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

impl UpArgs {
    /// How gateways speak with the replicas.
    pub(super) fn dialling(&self) -> Dialling {
        if self.secure_serving { Dialling::Tls } else { Dialling::Plaintext }
    }
}

/// Where requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GatewayKind {
    /// A small reverse proxy in this process.
    Embedded,
    /// Envoy, started with the configuration that `none` prints.
    Envoy,
    /// A gateway of the user's own.
    None,
}

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Lines for people, and a live summary on a terminal.
    Text,
    /// One line of JSON once ready.
    Json,
}

/// The address of the replica with this index: `step` ports on from the one before, or any free port where the first is.
pub(super) fn following(first: SocketAddr, index: u16, step: u16) -> Option<SocketAddr> {
    let port = if first.port() == 0 { 0 } else { first.port().checked_add(index.checked_mul(step)?)? };
    Some(SocketAddr::new(first.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_follow_at_fixed_steps_and_any_free_port_stays_so() {
        let at = |first: &str, index| following(first.parse().unwrap(), index, 10).map(|a| a.port());
        assert_eq!(Some(9022), at("127.0.0.1:9002", 2));
        assert_eq!(Some(0), at("127.0.0.1:0", 2));
        assert_eq!(None, at("127.0.0.1:65530", 1));
    }
}
