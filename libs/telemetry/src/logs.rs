//! Writes log lines to standard error.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::panics::log_panics;

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown log format \"{name}\"; expected text or json")),
        }
    }
}

/// Starts to write log lines, including panics, to standard error. `RUST_LOG` is the filter; without it,
/// `default` is, which is a level or a filter in the same syntax.
///
/// A second call in the same process has no effect.
pub fn init_logs(format: LogFormat, default: &str) {
    // ractor opens a span per actor, which would be the prefix of every log line.
    let default_filter = || EnvFilter::new(format!("{default},ractor=warn,kube_runtime=error"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default_filter());
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match format {
        LogFormat::Text => {
            let is_terminal = std::io::stderr().is_terminal();
            registry
                .with(layer().with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal))
                .try_init()
        }
        LogFormat::Json => registry.with(layer().json().with_writer(std::io::stderr)).try_init(),
    };
    match outcome {
        Ok(()) => log_panics(),
        Err(_) => tracing::debug!("logging is already set up"),
    }
}
