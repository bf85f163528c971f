//! Flags of the Go EPP with the same meaning here.

use std::str::FromStr;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use signalbox_telemetry::LogFormat;

/// Default verbosity of the Go EPP's logs.
const DEFAULT_VERBOSITY: i32 = 2;

/// Flags of the Go EPP with the same meaning here.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Flags of the Go EPP")]
pub struct GoEppFlags {
    /// Name of the pool; with --pool-namespace, an alternative to --pool
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pool", "endpoint-selector"])]
    pub pool_name: Option<String>,
    /// Namespace of the pool [default: $NAMESPACE, or default]
    #[arg(long, value_name = "NAMESPACE")]
    pub pool_namespace: Option<String>,
    /// Maximum size of a message from a gateway, such as 8Mi [default: --body-limit and 1 MiB for framing]
    #[arg(long, value_name = "SIZE", default_value = "", hide_default_value = true)]
    pub grpc_max_recv_msg_size: MessageSize,
    /// Maximum size of a message to a gateway, such as 8Mi [default: unlimited]
    #[arg(long, value_name = "SIZE", default_value = "", hide_default_value = true)]
    pub grpc_max_send_msg_size: MessageSize,
    /// Ignore the subset of endpoints that the gateway names for a request
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub disable_endpoint_subset_filter: bool,
    /// Send the candidates' scores to gateways
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub emit_endpoint_scores: bool,
    /// Export spans to the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub tracing: bool,
    /// Log verbosity, unless RUST_LOG is set: 4 adds debug messages, 5 trace messages
    #[arg(short = 'v', long = "v", value_name = "N", default_value_t = DEFAULT_VERBOSITY, allow_negative_numbers = true)]
    pub verbosity: i32,
    /// Log level, overrides -v: error, info, debug, or a number as for -v
    #[arg(long, value_name = "LEVEL")]
    pub zap_log_level: Option<LogLevel>,
    /// Format of log lines, overridden by --log-format: json, or console for text
    #[arg(long, value_name = "FORMAT")]
    pub zap_encoder: Option<ZapEncoder>,
}

/// An optional size in bytes, in Kubernetes notation: `8Mi`, `4194304`, `16MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageSize(pub Option<usize>);

/// The minimum level of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Same as `-v N`.
    Verbosity(i32),
}

/// Format of log lines under the Go EPP's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ZapEncoder {
    /// One JSON object per line.
    Json,
    /// Human-readable text.
    Console,
}

impl From<ZapEncoder> for LogFormat {
    fn from(encoder: ZapEncoder) -> Self {
        match encoder {
            ZapEncoder::Json => Self::Json,
            ZapEncoder::Console => Self::Text,
        }
    }
}

impl GoEppFlags {
    /// Returns the pool that the flags name, NAMESPACE/NAME. `namespace` is the namespace of this process.
    pub(crate) fn pool(&self, namespace: Option<String>) -> Option<String> {
        let name = self.pool_name.as_deref().filter(|name| !name.is_empty())?;
        let given = self.pool_namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = given.or(namespace).unwrap_or_else(|| "default".to_owned());
        Some(format!("{namespace}/{name}"))
    }

    /// Returns the default log filter.
    pub(crate) fn log_filter(&self) -> &'static str {
        match self.zap_log_level.unwrap_or(LogLevel::Verbosity(self.verbosity)) {
            LogLevel::Error => "error",
            LogLevel::Verbosity(..=3) => "info",
            // Dependencies log too much on these levels to be useful.
            LogLevel::Verbosity(4) => "info,signalbox=debug",
            LogLevel::Verbosity(5..) => "info,signalbox=trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(level: &str) -> Result<Self, String> {
        match level {
            "error" | "panic" => Ok(Self::Error),
            "info" => Ok(Self::Verbosity(DEFAULT_VERBOSITY)),
            "debug" => Ok(Self::Verbosity(4)),
            number => {
                let verbosity = number.parse().map(Self::Verbosity);
                verbosity.map_err(|_| "expected error, info, debug, or a number".to_owned())
            }
        }
    }
}

impl FromStr for MessageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_bytes: usize = match unit.strip_suffix('B').unwrap_or(unit) {
            "" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => return Err("expected a positive size such as 8Mi".to_owned()),
        };
        let size = number.parse().ok().and_then(|number: usize| number.checked_mul(unit_bytes));
        match size {
            None | Some(0) => Err("expected a positive size such as 8Mi".to_owned()),
            size => Ok(Self(size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Flags;

    fn parse(flags: &[&str]) -> GoEppFlags {
        let all = ["epp", "--aggregator", "127.0.0.1:1"].iter().chain(flags);
        Flags::try_parse_from(all).unwrap().go_epp
    }

    #[test]
    fn sizes_use_kubernetes_notation() {
        let size = |text: &str| text.parse::<MessageSize>().map(|size| size.0);
        assert_eq!(Ok(None), size(""));
        assert_eq!(Ok(Some(4_194_304)), size("4194304"));
        assert_eq!(Ok(Some(8 << 20)), size("8Mi"));
        assert_eq!(Ok(Some(16 << 20)), size("16MiB"));
        assert_eq!(Ok(Some(2_000_000)), size("2MB"));
        for bad in ["8Mo", "Mi", "0", "-1", "99999999999999999999", "18446744073709551615Gi"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pool_namespace_defaults_to_the_namespace_of_the_process() {
        let own = || Some("prod".to_owned());
        let named = parse(&["--pool-name", "llama", "--pool-namespace=ns"]);
        assert_eq!(Some("ns/llama"), named.pool(own()).as_deref());
        assert_eq!(Some("prod/llama"), parse(&["--pool-name=llama"]).pool(own()).as_deref());
        assert_eq!(Some("default/llama"), parse(&["--pool-name=llama"]).pool(None).as_deref());
        assert_eq!(None, parse(&["--pool-namespace=ns"]).pool(own()));
    }

    #[test]
    fn verbosity_follows_the_go_epp() {
        let filter = |flags: &[&str]| parse(flags).log_filter();
        for quiet in [&[][..], &["-v=2"], &["-v", "3"], &["--v=-1"], &["-v4", "--zap-log-level=info"]] {
            assert_eq!("info", filter(quiet), "{quiet:?}");
        }
        assert_eq!("info,signalbox=debug", filter(&["-v", "4"]));
        assert_eq!("info,signalbox=debug", filter(&["--zap-log-level", "debug"]));
        assert_eq!("info,signalbox=trace", filter(&["--v", "5"]));
        assert_eq!("error", filter(&["--zap-log-level=error"]));
    }
}
