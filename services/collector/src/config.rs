//! Where the collector is and how it reads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use signalbox_lease::{Coordinator, CoordinatorFlags};
use signalbox_telemetry::{LogFormat, process_name};
use signalbox_tls::{Security, TlsFlags};
use signalbox_types::PeerAddress;

/// Reads the metrics of model servers and reports what changed to an aggregator.
#[derive(Clone, Debug, Parser)]
#[command(name = "signalbox-collector", version)]
pub struct Arguments {
    /// An aggregator's gRPC address, HOST:PORT; repeat it, or separate several by commas, to have them tried in turn. Not needed with
    /// a coordinator, which knows them
    #[arg(
        long = "aggregator",
        value_name = "ADDR",
        required_unless_present = "coordinator",
        value_delimiter = ','
    )]
    pub aggregators: Vec<PeerAddress>,
    /// The pool, NAMESPACE/NAME [default: the only one that the aggregators have]
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// The coordinator
    #[command(flatten)]
    pub coordinator: CoordinatorFlags,
    /// How the aggregators are spoken with
    #[command(flatten)]
    pub tls: TlsFlags,
    /// This collector's name, unlike any other's [default: from the host's name and the process]
    #[arg(long)]
    pub name: Option<String>,
    /// How each model server is read
    #[command(flatten)]
    pub scrape: ScrapeConfig,
    /// Port of the collector's own metrics; 0: any free one
    #[arg(long, value_name = "PORT", default_value_t = 9202)]
    pub metrics_port: u16,
    /// Address that the port of the collector's own metrics is bound to
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub metrics_bind: IpAddr,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// `json` prints one line of JSON with the addresses once ready
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub output: Option<Output>,
}

impl Arguments {
    /// What the collector needs of them.
    ///
    /// # Errors
    /// When the coordinator is not one, a TLS file is of no use, or an aggregator is not to be spoken with without TLS.
    pub fn into_config(self) -> anyhow::Result<CollectorConfig> {
        let security = Security::of(&self.tls)?;
        self.aggregators.iter().try_for_each(|aggregator| security.connects_to(aggregator))?;
        Ok(CollectorConfig {
            security,
            coordinator: self.coordinator.connect()?,
            lease_ttl: self.coordinator.lease_ttl,
            pool: self.pool,
            name: self.name.unwrap_or_else(|| process_name("collector")),
            aggregators: self.aggregators,
            scrape: self.scrape,
            metrics_listen: SocketAddr::new(self.metrics_bind, self.metrics_port),
        })
    }
}

/// A collector, before it is started.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// Unlike any other collector's of the pool: an aggregator takes two streams of one name for one collector that came back.
    pub name: String,
    /// The pool; `None`: the only one that the aggregators have.
    pub pool: Option<String>,
    /// Tried in turn, beside those that the coordinator knows.
    pub aggregators: Vec<PeerAddress>,
    /// Where aggregators are found.
    pub coordinator: Option<Coordinator>,
    /// For so long the coordinator takes the collector for alive after its last word.
    pub lease_ttl: Duration,
    /// How aggregators are spoken with.
    pub security: Security,
    /// How each model server is read.
    pub scrape: ScrapeConfig,
    /// Where the collector's own metrics are served; port 0: any free one.
    pub metrics_listen: SocketAddr,
}

/// How each model server is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct ScrapeConfig {
    /// Time between two readings of a model server
    #[arg(long = "scrape-interval", value_name = "DURATION", default_value = "50ms", value_parser = duration)]
    pub interval: Duration,
    /// How long one reading may take
    #[arg(long = "scrape-deadline", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub deadline: Duration,
    /// Bytes of a metrics page beyond which it is taken for none
    #[arg(long = "scrape-page-bytes", value_name = "BYTES", default_value_t = 16 << 20)]
    pub page_bytes: usize,
    /// Time without a reading after which the last values count as stale
    #[arg(long = "stale-after", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub stale_after: Duration,
}

impl Default for ScrapeConfig {
    /// As the command's defaults.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(50),
            deadline: Duration::from_secs(1),
            page_bytes: 16 << 20,
            stale_after: Duration::from_secs(2),
        }
    }
}

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line of JSON once the metrics port is open.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text);
    let duration = parsed.map_err(|error| format!("{error}; write e.g. 50ms or 2s"))?;
    if duration < Duration::from_millis(1) { Err("at least 1ms".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Arguments, String> {
        let all = ["signalbox-collector"].iter().chain(flags);
        Arguments::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let arguments = parse(&["--aggregator", "127.0.0.1:9091"]).unwrap();
        assert_eq!(arguments.scrape, ScrapeConfig::default());
        assert_eq!(arguments.into_config().unwrap().metrics_listen.to_string(), "0.0.0.0:9202");
    }

    #[test]
    fn aggregators_may_be_repeated_or_separated_by_commas() {
        let flags = ["--aggregator", "a:1,[::1]:2", "--aggregator", "signalbox-0.signalbox:9091"];
        let found = parse(&flags).unwrap().aggregators;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a:1", "[::1]:2", "signalbox-0.signalbox:9091"]);
    }

    #[test]
    fn bad_flags_say_what_is_wrong() {
        let with = |flag, value| parse(&["--aggregator", "a:1", flag, value]).unwrap_err();
        assert!(parse(&[]).unwrap_err().contains("--aggregator"));
        for address in ["nowhere", "http://a:1", "a:99999", "u@a:1", "a:1/path", ""] {
            assert!(with("--aggregator", address).contains("HOST:PORT"), "{address}");
        }
        assert!(with("--scrape-interval", "0ms").contains("at least 1ms"));
        assert!(with("--scrape-interval", "fast").contains("50ms"));
        assert!(with("--log-format", "xml").contains("text, json"));
        assert!(with("--metrics-port", "70000").contains("metrics-port"));
    }
}
