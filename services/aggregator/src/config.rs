//! Where an aggregator listens and what it goes by.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use signalbox_state::PoolConfig;
use signalbox_telemetry::LogFormat;
use signalbox_types::Format;

/// Owns the state of a pool and streams it to the EPP replicas.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-aggregator", version)]
pub struct Flags {
    /// The pool and its endpoints; read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub endpoints: PathBuf,
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
#[derive(Clone, Copy, Debug)]
pub struct AggregatorConfig {
    /// For collectors and EPP replicas.
    pub listen: SocketAddr,
    /// For Prometheus.
    pub metrics: SocketAddr,
    /// What the owner goes by.
    pub pool: PoolConfig,
}

impl From<&Flags> for AggregatorConfig {
    fn from(flags: &Flags) -> Self {
        let pool = PoolConfig {
            format: Format::with_block_bytes(flags.block_tokens * 4),
            stale_after_ms: flags.stale_after.as_millis() as u64,
            origin_ttl_ms: flags.origin_ttl.as_millis() as u64,
            ..PoolConfig::default()
        };
        Self {
            listen: SocketAddr::new(flags.bind, flags.port),
            metrics: SocketAddr::new(flags.bind, flags.metrics_port),
            pool,
        }
    }
}
