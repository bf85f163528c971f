//! Log lines on standard error.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::faults::log_faults;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
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
            _ => Err(format!("\"{name}\" is no log format, known are: text, json")),
        }
    }
}

/// Sends log lines, panics among them, to standard error; `RUST_LOG` chooses which, and `default` (a level, or a filter in its syntax) without it.
///
/// A second call in one process changes nothing.
pub fn init_logs(format: LogFormat, default: &str) {
    // ractor opens a span per actor, which would stand before each line.
    let unless_told = || EnvFilter::new(format!("{default},ractor=warn"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| unless_told());
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
        Ok(()) => log_faults(),
        Err(_) => tracing::debug!("logs are already set up"),
    }
}
