//! The flags of `signalbox up`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use signalbox_collector::PageTlsFlags;
use signalbox_epp::{FlowSwitch, PolicyFlags};
use signalbox_modelsim::ModelConfig;
use signalbox_telemetry::LogFormat;

use super::simulator_count::SimulatorCount;
use crate::gateway::PickerTransport;
use crate::output::Output;

/// The flags of simulators, which have no effect on model servers of an endpoints file.
const SIMULATOR_FLAGS: [&str; 10] = [
    "simulators",
    "autoscale",
    "simulator_start_delay",
    "scale_down_after",
    "simulator_listen",
    "simulator_speed",
    "simulator_loras",
    "simulator_max_loras",
    "simulator_max_cpu_loras",
    "simulator_lora_load_ms",
];

/// Run a complete system in one process: model server simulators, collector, aggregator, EPP replicas and a
/// gateway
#[derive(Args, Debug)]
#[command(mut_group("PageTlsFlags", |flags| flags.requires("endpoints")))]
pub(crate) struct UpArgs {
    /// Endpoints file with real model servers to use instead of simulators
    #[arg(long, value_name = "FILE", conflicts_with_all = SIMULATOR_FLAGS)]
    pub(super) endpoints: Option<PathBuf>,
    /// TLS towards the metrics pages of real model servers.
    #[command(flatten)]
    pub(super) page_tls: PageTlsFlags,
    /// Number of model server simulators, or a range such as 1..8 with --autoscale
    #[arg(long, value_name = "N", default_value = "4")]
    pub(super) simulators: SimulatorCount,
    /// Start and stop simulators as the pool needs them, with flow control on unless --flow-control says otherwise
    #[arg(long)]
    pub(super) autoscale: bool,
    /// Time a simulator takes to start with --autoscale
    #[arg(long, requires = "autoscale", value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) simulator_start_delay: Duration,
    /// For how long fewer simulators must be enough before some stop with --autoscale
    #[arg(long, requires = "autoscale", value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    pub(super) scale_down_after: Duration,
    /// Address of the first simulator; the next ones use port +1 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(super) simulator_listen: SocketAddr,
    /// Speed of a simulator relative to a real model server
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(super) simulator_speed: f64,
    /// Number of LoRA adapters of the simulated model, named adapter-0 and so on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(super) simulator_loras: u32,
    /// Number of LoRA adapters that a simulator can run at once
    #[arg(long, requires = "simulator_loras", value_name = "SLOTS", default_value_t = ModelConfig::default().max_loras)]
    pub(super) simulator_max_loras: u32,
    /// Number of LoRA adapters that fit into a simulator's host memory [default: all]
    #[arg(long, requires = "simulator_loras", value_name = "N")]
    pub(super) simulator_max_cpu_loras: Option<u32>,
    /// Time a simulator takes to load a LoRA adapter from disk
    #[arg(long, requires = "simulator_loras", value_name = "MILLISECONDS", default_value_t = ModelConfig::default().lora_disk_load_us / 1_000)]
    pub(super) simulator_lora_load_ms: u64,
    /// The policy of the replicas.
    #[command(flatten)]
    policy: PolicyFlags,
    /// Number of EPP replicas
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) epp_replicas: u16,
    /// Number of aggregators: one owns the pool, the others are standbys
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) aggregators: u16,
    /// Number of collectors, which divide the model servers among themselves
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) collectors: u16,
    /// Coordinator for discovery and leases: in-process, or etcd://HOST:PORT[,HOST:PORT...]
    #[arg(long, value_name = "COORDINATOR", default_value = "in-process")]
    pub(super) coordinator: String,
    /// Gateway to run
    #[arg(long, value_enum, default_value_t = GatewayKind::Embedded)]
    pub(super) gateway: GatewayKind,
    /// Envoy binary for --gateway envoy [default: envoy on the PATH]
    #[arg(long, value_name = "FILE")]
    pub(super) envoy: Option<PathBuf>,
    /// Address of the gateway, also in the configuration that --gateway none prints; port 0 selects a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(super) gateway_listen: SocketAddr,
    /// Ext-proc address of the first EPP replica; the next ones use port +10 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9002")]
    pub(super) ext_proc_listen: SocketAddr,
    /// Serve ext-proc over TLS with a self-signed certificate that is generated at startup
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(super) secure_serving: bool,
    /// Health check address of the first EPP replica; the next ones use port +10 each, port 0 selects free
    /// ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9003")]
    pub(super) health_listen: SocketAddr,
    /// Access log address of the first EPP replica; the next ones use port +10 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9004")]
    pub(super) access_log_listen: SocketAddr,
    /// Metrics address of the first EPP replica; the next ones use port +10 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    pub(super) metrics_listen: SocketAddr,
    /// Address of the first aggregator; the next ones use port +10 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9200")]
    pub(super) aggregator_listen: SocketAddr,
    /// Metrics address of the first aggregator; the next ones use port +10 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9201")]
    pub(super) aggregator_metrics_listen: SocketAddr,
    /// Metrics address of the first collector; the next ones use port +10 each, port 0 selects free ports
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9202")]
    pub(super) collector_metrics_listen: SocketAddr,
    /// Format of log lines: text or json
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub(super) log_format: LogFormat,
    /// Output format of what is printed when the system is ready: addresses and examples, and a live summary on a terminal; or
    /// one line of JSON with all addresses
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Output,
}

impl UpArgs {
    /// Checks what the parser of flags cannot.
    ///
    /// # Errors
    /// Which flag does not apply, and why.
    pub(super) fn check(&self) -> Result<(), String> {
        match (self.simulators.is_range, self.autoscale) {
            (true, false) => return Err("--simulators with a range needs --autoscale".to_owned()),
            (false, true) => {
                return Err("--autoscale needs a range of simulators, such as --simulators 1..8".to_owned());
            }
            (true, true) | (false, false) => {}
        }
        let last = nth_address(self.simulator_listen, self.simulators.max - 1, 1);
        if self.autoscale && last.is_none() {
            return Err(format!(
                "--simulator-listen: the port of simulator {} is above 65535; choose a lower port",
                self.simulators.max - 1
            ));
        }
        match self.gateway {
            GatewayKind::Embedded | GatewayKind::None if self.envoy.is_some() => {
                Err("--envoy needs --gateway envoy".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Returns the policy of the replicas. What an autoscaler cannot start at once must be able to wait.
    pub(super) fn policy(&self) -> PolicyFlags {
        let flow_control = self.policy.flow_control.or(self.autoscale.then_some(FlowSwitch::On));
        PolicyFlags { flow_control, ..self.policy.clone() }
    }

    /// Returns how gateways connect to the replicas.
    pub(super) fn picker_transport(&self) -> PickerTransport {
        if self.secure_serving { PickerTransport::Tls } else { PickerTransport::Plaintext }
    }
}

/// The gateway in front of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GatewayKind {
    /// Small reverse proxy in this process, for local use only
    Embedded,
    /// Envoy, started with the configuration that `none` prints
    Envoy,
    /// No gateway; prints a configuration for your own Envoy
    None,
}

/// Returns the address of the instance with this index. Ports are `step` apart. If the first port is 0, all
/// are 0. Returns `None` when the port would exceed 65535.
pub(super) fn nth_address(first: SocketAddr, index: u16, step: u16) -> Option<SocketAddr> {
    let port = if first.port() == 0 { 0 } else { first.port().checked_add(index.checked_mul(step)?)? };
    Some(SocketAddr::new(first.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        up: UpArgs,
    }

    fn parse(flags: &[&str]) -> Result<(), String> {
        let cli = Cli::try_parse_from(["up"].iter().chain(flags));
        cli.map_err(|error| error.to_string()).and_then(|cli| cli.up.check())
    }

    #[test]
    fn flags_that_do_not_apply_together_are_refused() {
        let simulators: [&[&str]; 7] = [
            &["--simulators", "2"],
            &["--simulator-listen", "127.0.0.1:0"],
            &["--simulator-speed", "2"],
            &["--simulator-loras", "3"],
            &["--simulator-loras", "3", "--simulator-max-loras", "2"],
            &["--simulator-loras", "3", "--simulator-max-cpu-loras", "2"],
            &["--simulator-loras", "3", "--simulator-lora-load-ms", "2"],
        ];
        for flags in simulators {
            assert_eq!(Ok(()), parse(flags), "{flags:?}");
            let refused = parse(&[&["--endpoints", "e.yaml"], flags].concat()).unwrap_err();
            assert!(refused.contains("--endpoints") && refused.contains(flags[0]), "{refused}");
        }
        for (flags, needed) in [
            (["--simulator-max-loras", "2"], "--simulator-loras"),
            (["--simulator-start-delay", "3s"], "--autoscale"),
            (["--scale-down-after", "3s"], "--autoscale"),
            (["--envoy", "/envoy"], "--gateway envoy"),
            (["--metrics-ca", "ca.pem"], "--endpoints"),
        ] {
            let refused = parse(&flags).unwrap_err();
            assert!(refused.contains(needed), "{refused}");
        }
        assert_eq!(Ok(()), parse(&["--endpoints", "e.yaml", "--metrics-ca", "ca.pem"]));
        assert_eq!(Ok(()), parse(&["--gateway", "envoy", "--envoy", "/envoy"]));
    }

    #[test]
    fn autoscaling_needs_a_range_of_simulators_and_of_ports() {
        let range = ["--simulators", "1..8", "--autoscale"];
        assert_eq!(Ok(()), parse(&range));
        let more = ["--simulator-start-delay", "3s", "--scale-down-after", "3s"];
        assert_eq!(Ok(()), parse(&[&range[..], &more].concat()));
        let refused: [(&[&str], &str); 5] = [
            (&["--simulators", "1..8"], "--autoscale"),
            (&["--autoscale"], "--simulators 1..8"),
            (&["--autoscale", "--simulators", "4"], "--simulators 1..8"),
            (&["--autoscale", "--endpoints", "e.yaml"], "--endpoints"),
            (&[&range[..], &["--simulator-listen", "127.0.0.1:65530"]].concat(), "65535"),
        ];
        for (flags, needed) in refused {
            let refused = parse(flags).unwrap_err();
            assert!(refused.contains(needed), "{refused}");
        }
    }

    #[test]
    fn instances_have_ports_at_fixed_steps_and_port_0_stays_0() {
        let at = |first: &str, index| nth_address(first.parse().unwrap(), index, 10).map(|a| a.port());
        assert_eq!(Some(9022), at("127.0.0.1:9002", 2));
        assert_eq!(Some(0), at("127.0.0.1:0", 2));
        assert_eq!(None, at("127.0.0.1:65530", 1));
    }
}
