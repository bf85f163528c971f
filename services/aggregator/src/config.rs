//! Where an aggregator listens and what it goes by.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use signalbox_lease::{Coordinator, CoordinatorFlags};
use signalbox_state::PoolConfig;
use signalbox_telemetry::{LogFormat, process_name};
use signalbox_tls::{Security, TlsFlags};
use signalbox_types::{Format, PeerAddress};

/// Owns the state of a pool and streams it to the EPP replicas.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-aggregator", version)]
pub struct Flags {
    /// A pool and its endpoints; read again when it changes. Repeated: one file for each pool.
    #[arg(long, value_name = "FILE", required = true)]
    pub endpoints: Vec<PathBuf>,
    /// This aggregator's name, unlike any other's [default: from the host's name and the process]
    #[arg(long)]
    pub name: Option<String>,
    /// Where others reach this aggregator, HOST:PORT [default: the address it listens on, or the host's name where that is any]
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<PeerAddress>,
    /// The coordinator; without one this is the pools' only aggregator.
    #[command(flatten)]
    pub coordinator: CoordinatorFlags,
    /// How other processes are spoken with.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// How long a new owner that holds nothing waits for a replica to offer what it holds; the first owner ever does not.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub inherit_within: Duration,
    /// A pool is left to the aggregator that comes first for it when that has lived for so long, so that pools spread over aggregators.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub give_back_after: Duration,
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// Port for collectors and EPP replicas; 0 is any free one.
    #[arg(long, default_value_t = 9200)]
    pub port: u16,
    /// Port for Prometheus metrics; 0 is any free one.
    #[arg(long, default_value_t = 9201)]
    pub metrics_port: u16,
    /// After so long without a word of it a replica is given up, and its bookings with it.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    pub origin_ttl: Duration,
    /// After so long without a reading the values of an endpoint are stale.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub stale_after: Duration,
    /// Tokens in a block of prompt, at 4 bytes each.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub block_tokens: u32,
    /// How log lines look: text or json.
    #[arg(long, default_value_t)]
    pub log_format: LogFormat,
    /// `json` prints one line of JSON with the addresses once ready.
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<Output>,
}

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line of JSON once ready.
    Json,
}

/// Where an aggregator listens and what it goes by.
#[derive(Clone, Debug)]
pub struct AggregatorConfig {
    /// Its name, unlike any other aggregator's.
    pub name: String,
    /// Where others reach it, if not where it listens.
    pub advertise: Option<PeerAddress>,
    /// Where it finds others, and pools their owners; without one it is alone.
    pub coordinator: Option<Coordinator>,
    /// For so long the coordinator takes it for alive after its last word.
    pub lease_ttl: Duration,
    /// How long a new owner that holds nothing waits for a replica to offer what it holds.
    pub inherit_within: Duration,
    /// It leaves a pool to the aggregator that comes first for it when that has lived for so long.
    pub give_back_after: Duration,
    /// How other processes are spoken with.
    pub security: Security,
    /// For collectors and EPP replicas.
    pub listen: SocketAddr,
    /// For Prometheus.
    pub metrics: SocketAddr,
    /// What the owner goes by.
    pub pool: PoolConfig,
}

impl AggregatorConfig {
    /// What `flags` say.
    ///
    /// # Errors
    /// When the coordinator is not one, or a TLS file is of no use.
    pub fn of(flags: &Flags) -> anyhow::Result<Self> {
        let pool = PoolConfig {
            format: Format::with_block_bytes(flags.block_tokens * 4),
            stale_after_ms: flags.stale_after.as_millis() as u64,
            origin_ttl_ms: flags.origin_ttl.as_millis() as u64,
            ..PoolConfig::default()
        };
        Ok(Self {
            name: flags.name.clone().unwrap_or_else(|| process_name("aggregator")),
            advertise: flags.advertise.clone(),
            coordinator: flags.coordinator.connect()?,
            lease_ttl: flags.coordinator.lease_ttl,
            inherit_within: flags.inherit_within,
            give_back_after: flags.give_back_after,
            security: Security::of(&flags.tls)?,
            listen: SocketAddr::new(flags.bind, flags.port),
            metrics: SocketAddr::new(flags.bind, flags.metrics_port),
            pool,
        })
    }
}
