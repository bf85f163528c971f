//! The aggregator's command-line flags and configuration.

mod autoscaling_flags;
mod pool_flags;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Parser;
use signalbox_kube::Cluster;
use signalbox_lease::{Coordinator, CoordinatorFlags, KubernetesFlags};
use signalbox_state::PoolConfig;
use signalbox_telemetry::{LogFormat, process_name};
use signalbox_tls::{Security, TlsFlags};
use signalbox_types::{Format, PeerAddress};

pub use self::autoscaling_flags::{AutoscalingConfig, AutoscalingFlags, MetricsApiConfig};
pub use self::pool_flags::{PoolFlags, ServiceName};

/// Owns the state of pools and streams it to EPP replicas.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-aggregator", version)]
pub struct Flags {
    /// Which pools to serve
    #[command(flatten)]
    pub pools: PoolFlags,
    /// Unique name of this aggregator [default: host name and process ID]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Address at which other processes reach this aggregator [default: the listen address, or the host name
    /// if it listens on all addresses]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<PeerAddress>,
    /// Coordinator flags; without a coordinator this is the pools' only aggregator
    #[command(flatten)]
    pub coordinator: CoordinatorFlags,
    /// Kubernetes flags, for the pools and for the coordinator
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
    /// TLS flags
    #[command(flatten)]
    pub tls: TlsFlags,
    /// How long a new owner without state waits for a follower that offers the pool state; a pool's first
    /// owner does not wait
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub takeover_wait: Duration,
    /// How long the preferred aggregator of a pool must be alive before the pool is handed back to it
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub failback_after: Duration,
    /// How long the state of a pool that is gone is kept: longer than replicas drain it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub pool_drain: Duration,
    /// Memory for the latest history of all pools together, from which followers continue that were away; each
    /// pool keeps at most a quarter of it and at least 1 MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(4..=65_536))]
    pub history_mib: u32,
    /// Keep a pool's history for at least this long, even if it exceeds the pool's share of --history-mib; but never
    /// more than four times the share.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub history_time: Duration,
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// Port for collectors, EPP replicas and other aggregators; 0 selects a free port
    #[arg(long, value_name = "PORT", default_value_t = 9200)]
    pub port: u16,
    /// Port for Prometheus metrics; 0 selects a free port
    #[arg(long, value_name = "PORT", default_value_t = 9201)]
    pub metrics_port: u16,
    /// Which autoscalers are served, and how
    #[command(flatten)]
    pub autoscaling: AutoscalingFlags,
    /// How long a replica can be silent before its bookings are removed
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub origin_ttl: Duration,
    /// Time without a successful scrape after which an endpoint's values are stale
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub stale_after: Duration,
    /// Tokens per prompt block, at 4 bytes each
    #[arg(long, value_name = "TOKENS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub block_tokens: u32,
    /// Format of log lines: text or json
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// Print one line of JSON with the addresses when ready
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<Output>,
}

impl Flags {
    /// Returns whether the pools or the coordinator are in Kubernetes, or its HPA is served.
    pub fn needs_cluster(&self) -> bool {
        self.pools.is_kubernetes()
            || self.coordinator.is_kubernetes()
            || self.autoscaling.serves_metrics_api()
    }
}

/// Format of the standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line of JSON when ready.
    Json,
}

/// Configuration of an aggregator.
#[derive(Clone, Debug)]
pub struct AggregatorConfig {
    /// Name of the aggregator, unique among aggregators.
    pub name: String,
    /// Address at which others reach it, if it differs from the listen address.
    pub advertise: Option<PeerAddress>,
    /// Coordinator for discovery and ownership; `None` means that there are no other aggregators.
    pub coordinator: Option<Coordinator>,
    /// How long it stays registered at the coordinator after it dies.
    pub lease_ttl: Duration,
    /// How long a new owner without state waits for a follower that offers the pool state.
    pub takeover_wait: Duration,
    /// How long the preferred aggregator of a pool must be alive before the pool is handed back to it.
    pub failback_after: Duration,
    /// How long a pool that is gone is kept, for the requests that its endpoints still run.
    pub pool_drain: Duration,
    /// The memory for the latest history of all pools together, in bytes. Each pool keeps at most a quarter of it
    /// and at least 1 MiB.
    pub history_bytes: usize,
    /// How long history is kept beyond a pool's part of `history_bytes`.
    pub history_time: Duration,
    /// Security of connections to other processes.
    pub security: Security,
    /// Listen address for collectors, EPP replicas and other aggregators.
    pub listen: SocketAddr,
    /// Listen address for Prometheus.
    pub metrics: SocketAddr,
    /// The autoscalers that are served.
    pub autoscaling: AutoscalingConfig,
    /// Configuration of the pools.
    pub pool: PoolConfig,
}

impl AggregatorConfig {
    /// Returns the configuration that `flags` describe. `cluster` is the Kubernetes cluster, if
    /// [`Flags::needs_cluster`].
    ///
    /// # Errors
    /// When the coordinator's flags are invalid or a TLS file cannot be used.
    pub fn from_flags(flags: &Flags, cluster: Option<&Cluster>) -> anyhow::Result<Self> {
        let pool = PoolConfig {
            format: Format::with_block_tokens(flags.block_tokens),
            stale_after_ms: flags.stale_after.as_millis() as u64,
            origin_ttl_ms: flags.origin_ttl.as_millis() as u64,
            signal: flags.autoscaling.signal(),
            ..PoolConfig::default()
        };
        Ok(Self {
            name: flags.name.clone().unwrap_or_else(|| process_name("aggregator")),
            advertise: flags.advertise.clone(),
            coordinator: flags.coordinator.connect_aggregator(&flags.kubernetes, cluster)?,
            lease_ttl: flags.coordinator.lease_ttl(),
            takeover_wait: flags.takeover_wait,
            failback_after: flags.failback_after,
            pool_drain: flags.pool_drain,
            history_bytes: (flags.history_mib as usize) << 20,
            history_time: flags.history_time,
            security: Security::from_flags(&flags.tls)?,
            listen: SocketAddr::new(flags.bind, flags.port),
            metrics: SocketAddr::new(flags.bind, flags.metrics_port),
            autoscaling: flags.autoscaling.config(flags.bind, cluster)?,
            pool,
        })
    }
}
