//! The collector's command-line flags and configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, ValueEnum};
use signalbox_lease::{Coordinator, CoordinatorFlags};
use signalbox_peers::FollowedPools;
use signalbox_telemetry::{LogFormat, process_name};
use signalbox_tls::{PageTls, PageTlsFiles, Security, TlsFlags};
use signalbox_types::PeerAddress;

/// Scrapes the metrics of model servers and reports changes to an aggregator.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-collector", version)]
pub struct Flags {
    /// Address of an aggregator; may be repeated or comma-separated; not needed with --coordinator. With
    /// --all-pools, a host name stands for all its IP addresses, and the aggregators name each other
    #[arg(
        long = "aggregator",
        value_name = "HOST:PORT",
        required_unless_present = "coordinator",
        value_delimiter = ','
    )]
    pub aggregators: Vec<PeerAddress>,
    /// Pool to serve; required when the aggregators serve several [default: their only pool]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pool: Option<String>,
    /// Serve all pools that the aggregators have
    #[arg(long, requires = "aggregators", conflicts_with = "pool")]
    pub all_pools: bool,
    /// Coordinator flags
    #[command(flatten)]
    pub coordinator: CoordinatorFlags,
    /// TLS flags
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Unique name of this collector [default: host name and process ID]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Scrape flags
    #[command(flatten)]
    pub scrape: ScrapeConfig,
    /// TLS flags for metrics pages
    #[command(flatten)]
    pub page_tls: PageTlsFlags,
    /// Port for Prometheus metrics; 0 selects a free port
    #[arg(long, value_name = "PORT", default_value_t = 9202)]
    pub metrics_port: u16,
    /// Address that the metrics port is bound to
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub metrics_bind: IpAddr,
    /// Format of log lines: text or json
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// Print one line of JSON with the addresses when ready
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub output: Option<Output>,
}

impl Flags {
    /// Returns the configuration that the flags describe.
    ///
    /// # Errors
    /// When the coordinator's URL is invalid, a TLS file cannot be used, or an aggregator on another machine
    /// would be contacted without TLS.
    pub fn into_config(self) -> anyhow::Result<CollectorConfig> {
        let security = Security::from_flags(&self.tls)?;
        self.aggregators.iter().try_for_each(|aggregator| security.check_peer_address(aggregator))?;
        Ok(CollectorConfig {
            security,
            page_tls: self.page_tls.load()?,
            coordinator: self.coordinator.connect()?,
            lease_ttl: self.coordinator.lease_ttl(),
            pools: if self.all_pools { FollowedPools::All } else { FollowedPools::One(self.pool) },
            name: self.name.unwrap_or_else(|| process_name("collector")),
            aggregators: self.aggregators,
            scrape: self.scrape,
            metrics_listen: SocketAddr::new(self.metrics_bind, self.metrics_port),
        })
    }
}

/// The flags for TLS towards https metrics pages.
#[derive(Args, Clone, Debug)]
pub struct PageTlsFlags {
    /// Certificate authorities (PEM) for https metrics pages; reloaded when it changes [default: the platform's]
    #[arg(long, value_name = "FILE")]
    pub metrics_ca: Option<PathBuf>,
    /// Certificate (PEM) that is presented to https metrics pages that ask for one; reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "metrics_key")]
    pub metrics_cert: Option<PathBuf>,
    /// Private key of --metrics-cert (PEM); reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "metrics_cert")]
    pub metrics_key: Option<PathBuf>,
    /// Accept any certificate of https metrics pages, as the Go EPP does unless told otherwise
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub model_server_metrics_https_insecure_skip_verify: bool,
}

impl PageTlsFlags {
    /// Returns the settings that the flags describe.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(&self) -> anyhow::Result<Arc<PageTls>> {
        let own = self.metrics_cert.clone().zip(self.metrics_key.clone());
        let page_tls = PageTls::with_files(PageTlsFiles { ca: self.metrics_ca.clone(), own })?;
        Ok(Arc::new(match self.model_server_metrics_https_insecure_skip_verify {
            true => page_tls.verifying_none(),
            false => page_tls,
        }))
    }
}

/// Configuration of a collector.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// Name of the collector, unique among the collectors: for an aggregator, a second stream with the same name is
    /// the same collector after a reconnect.
    pub name: String,
    /// Pools to scrape for.
    pub pools: FollowedPools,
    /// Aggregators to try in turn, in addition to those that are registered at the coordinator.
    pub aggregators: Vec<PeerAddress>,
    /// Coordinator at which aggregators are found, if any.
    pub coordinator: Option<Coordinator>,
    /// How long the collector stays registered at the coordinator after it dies.
    pub lease_ttl: Duration,
    /// Security of connections to aggregators.
    pub security: Security,
    /// How endpoints are scraped.
    pub scrape: ScrapeConfig,
    /// TLS towards https metrics pages.
    pub page_tls: Arc<PageTls>,
    /// Address for the collector's own metrics; port 0 selects a free port.
    pub metrics_listen: SocketAddr,
}

/// How endpoints are scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct ScrapeConfig {
    /// Time between two scrapes of an endpoint
    #[arg(long = "scrape-interval", value_name = "DURATION", default_value = "50ms", value_parser = duration)]
    pub interval: Duration,
    /// Time limit for a scrape
    #[arg(long = "scrape-timeout", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub timeout: Duration,
    /// Maximum size of a metrics page; larger pages are invalid
    #[arg(long = "scrape-max-page-bytes", value_name = "BYTES", default_value_t = 16 << 20)]
    pub max_page_bytes: usize,
    /// Time without a successful scrape after which an endpoint's values are stale
    #[arg(long = "stale-after", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub stale_after: Duration,
}

impl Default for ScrapeConfig {
    /// Returns the defaults of the command-line flags.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
            max_page_bytes: 16 << 20,
            stale_after: Duration::from_secs(2),
        }
    }
}

/// Format of the standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line of JSON when the metrics port is open.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text);
    let duration = parsed.map_err(|error| format!("{error}; write for example 50ms or 2s"))?;
    if duration < Duration::from_millis(1) { Err("the minimum is 1ms".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Flags, String> {
        let all = ["signalbox-collector"].iter().chain(flags);
        Flags::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_as_documented() {
        let flags = parse(&["--aggregator", "127.0.0.1:9091"]).unwrap();
        assert_eq!(flags.scrape, ScrapeConfig::default());
        assert_eq!(flags.into_config().unwrap().metrics_listen.to_string(), "0.0.0.0:9202");
    }

    #[test]
    fn aggregators_can_be_repeated_or_comma_separated() {
        let flags = ["--aggregator", "a:1,[::1]:2", "--aggregator", "signalbox-0.signalbox:9091"];
        let found = parse(&flags).unwrap().aggregators;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a:1", "[::1]:2", "signalbox-0.signalbox:9091"]);
    }

    #[test]
    fn invalid_flags_are_rejected_with_a_reason() {
        let with = |flag, value| parse(&["--aggregator", "a:1", flag, value]).unwrap_err();
        assert!(parse(&[]).unwrap_err().contains("--aggregator"));
        for address in ["nowhere", "http://a:1", "a:99999", "u@a:1", "a:1/path", ""] {
            assert!(with("--aggregator", address).contains("HOST:PORT"), "{address}");
        }
        assert!(with("--scrape-interval", "0ms").contains("minimum is 1ms"));
        assert!(with("--scrape-interval", "fast").contains("50ms"));
        assert!(with("--log-format", "xml").contains("text or json"));
        assert!(with("--metrics-port", "70000").contains("metrics-port"));
    }
}
