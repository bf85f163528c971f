//! The flags of `signalbox load` and the plan that they define.

use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Uri;

use super::requests::adapters::Adapters;
use super::requests::body::{Api, ResponseMode};
use super::requests::prompts::{PromptGenerator, PromptShape, Sharing};
use super::requests::{Requests, Source, trace};
use super::schedule::Pacing;
use crate::input::Input;
use crate::output::Output;

/// Flags that conflict with `--trace`, because a trace determines requests and pacing.
const NOT_WITH_TRACE: [&str; 10] = [
    "profile",
    "concurrency",
    "rate",
    "groups",
    "prompts",
    "shared_tokens",
    "question_tokens",
    "wave",
    "wave_pause_ms",
    "max_tokens",
];

/// Send a workload to a gateway or model server and report latency, cache hits and the spread over pods
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Base URL of the gateway or model server, e.g. http://127.0.0.1:8080
    #[arg(long, value_name = "URL", value_parser = target)]
    pub(crate) to: Uri,
    /// Workload to generate: what prompts share and how they are paced
    #[arg(long, value_enum, default_value_t = Profile::SharedPrefix)]
    profile: Profile,
    /// Replay a trace in the Mooncake format instead; each request is sent at its recorded time; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_TRACE)]
    trace: Option<Input>,
    /// Speedup of the replay with --trace
    #[arg(long, value_name = "FACTOR", value_parser = positive, default_value_t = 1.0, requires = "trace")]
    speed: f64,
    /// Number of requests to send [default: groups × prompts, or the whole trace]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Maximum number of requests in flight [default: 16, or unlimited with --rate]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "wave")]
    concurrency: Option<u64>,
    /// Requests per second, sent at random times (Poisson) [default: a new request for each response]
    #[arg(long, value_name = "PER_SECOND", value_parser = positive, conflicts_with = "wave")]
    rate: Option<f64>,
    /// Number of prompt groups; the prompts of a group share their first part
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    groups: u64,
    /// Number of prompts per group; --requests overrides the total
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    prompts: u64,
    /// Tokens in the shared part of a prompt (4 bytes per token)
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    shared_tokens: u32,
    /// Tokens in the unique part of a prompt (4 bytes per token)
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    question_tokens: u32,
    /// Requests per wave with --profile burst [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    wave: Option<u64>,
    /// Pause after the last response of a wave with --profile burst, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    wave_pause_ms: u64,
    /// Maximum number of output tokens per request
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// Model to request [default: the first in /v1/models, else llama3-8b]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Request LoRA adapters adapter-0 to adapter-(N-1) instead of a model, drawn by Zipf's law (exponent 1)
    #[arg(long, value_name = "N", conflicts_with = "model", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lora_zipf: Option<u32>,
    /// Random seed; the same seed sends the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// API to call
    #[arg(long, value_enum, default_value_t = Api::Chat)]
    api: Api,
    /// Request responses that are not streamed; time to first token is not measured
    #[arg(long)]
    no_stream: bool,
    /// Timeout of a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_seconds: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A kind of generated workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// Groups of prompts that share a long first part
    SharedPrefix,
    /// Prompts of the same size without shared parts
    Unique,
    /// Like shared-prefix, sent in waves of simultaneous requests
    Burst,
}

impl Profile {
    /// Returns the value of the flag.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedPrefix => "shared-prefix",
            Self::Unique => "unique",
            Self::Burst => "burst",
        }
    }
}

/// A validated description of a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: Uri,
    /// Name of the workload in the report.
    pub(super) profile: &'static str,
    pub(super) count: u64,
    pub(super) pacing: Pacing,
    pub(super) requests: Requests,
    pub(super) model: Option<String>,
    pub(super) seed: u64,
    pub(super) api: Api,
    pub(super) response_mode: ResponseMode,
    pub(super) timeout: Duration,
    pub(super) output: Output,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The flags contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The trace cannot be read.
    #[error("{0:#}")]
    Unreadable(anyhow::Error),
}

impl LoadArgs {
    /// Returns the plan that the flags define. Reads the trace, if any.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub(super) fn plan(self) -> Result<Plan, PlanError> {
        let (profile, count, pacing, source) = match &self.trace {
            Some(path) => {
                let items = trace::read(path, self.speed, self.requests).map_err(PlanError::Unreadable)?;
                let pacing = Pacing::Trace { offsets: trace::offsets(&items) };
                ("trace", items.len() as u64, pacing, Source::Trace(items))
            }
            None => {
                let count = self.requests.unwrap_or(self.groups * self.prompts);
                (self.profile.name(), count, self.pacing().map_err(PlanError::Usage)?, self.generated())
            }
        };
        let adapters = self.lora_zipf.map(|count| Adapters::new(self.seed, count));
        Ok(Plan {
            profile,
            count,
            pacing,
            requests: Requests { source, adapters },
            target: self.to,
            model: self.model,
            seed: self.seed,
            api: self.api,
            response_mode: if self.no_stream { ResponseMode::NonStreaming } else { ResponseMode::Streaming },
            timeout: Duration::from_secs(self.timeout_seconds),
            output: self.output,
        })
    }

    fn generated(&self) -> Source {
        let sharing = match self.profile {
            Profile::SharedPrefix | Profile::Burst => Sharing::Groups,
            Profile::Unique => Sharing::None,
        };
        let shape = PromptShape {
            sharing,
            groups: self.groups,
            shared_tokens: self.shared_tokens,
            question_tokens: self.question_tokens,
        };
        Source::Generated { prompts: PromptGenerator::new(self.seed, shape), max_tokens: self.max_tokens }
    }

    fn pacing(&self) -> Result<Pacing, String> {
        let burst = self.profile == Profile::Burst;
        match (burst, self.rate, self.concurrency) {
            (true, None, None) => Ok(Pacing::Waves {
                size: self.wave.unwrap_or(50),
                pause: Duration::from_millis(self.wave_pause_ms),
            }),
            (true, _, _) => Err("--profile burst is paced by --wave; remove --rate and --concurrency".into()),
            (false, _, _) if self.wave.is_some() => Err("--wave needs --profile burst".into()),
            (false, Some(per_second), limit) => Ok(Pacing::Poisson { per_second, limit }),
            (false, None, limit) => Ok(Pacing::Closed { concurrency: limit.unwrap_or(16) }),
        }
    }
}

fn target(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.query()) {
        (Some("http"), None) => Ok(uri),
        (Some("http"), Some(_)) => Err("the URL must not have a query".into()),
        _ => Err("the URL must begin with http://".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("the number must be above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn plan(flags: &[&str]) -> Result<Plan, String> {
        let args = ["load", "--to", "http://127.0.0.1:8080"].iter().chain(flags);
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        cli.load.plan().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_give_a_closed_loop_of_100_requests() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.count, plan.profile), (100, "shared-prefix"));
        assert_eq!(plan.pacing, Pacing::Closed { concurrency: 16 });
        assert_eq!(plan.response_mode, ResponseMode::Streaming);
    }

    #[test]
    fn pacing_follows_the_flags() {
        let poisson = Pacing::Poisson { per_second: 2.5, limit: Some(3) };
        assert_eq!(plan(&["--rate", "2.5", "--concurrency", "3"]).unwrap().pacing, poisson);
        let waves = Pacing::Waves { size: 7, pause: Duration::from_millis(1_000) };
        assert_eq!(plan(&["--profile", "burst", "--wave", "7"]).unwrap().pacing, waves);
    }

    #[test]
    fn invalid_flags_are_rejected() {
        let bad: [&[&str]; 13] = [
            &["--rate", "0"],
            &["--rate", "nan"],
            &["--concurrency", "0"],
            &["--requests", "0"],
            &["--profile", "burst", "--rate", "1"],
            &["--wave", "3"],
            &["--to", "https://example.com"],
            &["--to", "127.0.0.1:8080"],
            &["--speed", "2"],
            &["--trace", "-", "--speed", "0"],
            &["--trace", "-", "--speed", "-1"],
            &["--trace", "-", "--rate", "3"],
            &["--lora-zipf", "3", "--model", "m"],
        ];
        for flags in bad {
            assert!(plan(flags).is_err(), "{flags:?}");
        }
    }
}
