//! The flags of `signalbox load`.

mod plan;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use http::{HeaderName, Uri};

use super::requests::body::Api;
use crate::header_flag::HeaderFlag;
use crate::input::Input;
use crate::output::Output;
pub(super) use plan::Plan;
pub(crate) use plan::PlanError;

/// The longest time that a flag takes: times can be added without overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Flags that conflict with `--trace`, because a trace determines requests and pacing.
const NOT_WITH_TRACE: [&str; 11] = [
    "profile",
    "concurrency",
    "rate",
    "groups",
    "prompts",
    "shared_tokens",
    "question_tokens",
    "tenants",
    "wave",
    "wave_pause_ms",
    "max_tokens",
];

/// Send a workload to a gateway or model server and report throughput, latency, cache hits and the spread over endpoints
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Base URL of the gateway or model server; by default where signalbox up listens
    #[arg(long, value_name = "URL", value_parser = target, default_value = "http://127.0.0.1:8080")]
    to: Uri,
    /// Header of each request, as 'NAME: VALUE'; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER")]
    header: Vec<HeaderFlag>,
    /// Certificate authorities (PEM) to trust for https [default: the platform's]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Accept any certificate for https
    #[arg(long)]
    insecure: bool,
    /// Response header that names the endpoint [default: x-signalbox-pod, x-inference-pod or
    /// x-gateway-destination-endpoint-served]
    #[arg(long, value_name = "NAME")]
    endpoint_header: Option<HeaderName>,
    /// Workload to generate: what prompts share and how they are paced
    #[arg(long, value_enum, default_value_t = Profile::SharedPrefix)]
    profile: Profile,
    /// Replay a trace in the Mooncake format instead; each request is sent at its recorded time; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_TRACE)]
    trace: Option<Input>,
    /// Speedup of the replay with --trace
    #[arg(long, value_name = "FACTOR", value_parser = positive, default_value_t = 1.0, requires = "trace")]
    speed: f64,
    /// Number of requests to send [default: groups × prompts, or the whole trace; no limit with --duration and the profiles
    /// tiers and diurnal]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Time after the warmup in which requests are sent, such as 90s or 5m; those in flight are awaited [default: until all
    /// are sent; 30s for the profile tiers, 2m for diurnal]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Time at the start whose requests are sent but not measured, such as 10s
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    warmup: Duration,
    /// Maximum number of requests in flight [default: 16, or unlimited with --rate and the profiles tiers and diurnal]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "wave")]
    concurrency: Option<u64>,
    /// Requests per second, sent at random times (Poisson); with --profile diurnal, the highest rate [default: a new request
    /// for each response; 80 for the profiles tiers and diurnal]
    #[arg(long, value_name = "PER_SECOND", value_parser = positive, conflicts_with = "wave")]
    rate: Option<f64>,
    /// Number of prompt groups; the prompts of a group share their first part; not with --profile tiers [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    groups: Option<u64>,
    /// Number of prompts per group; --requests overrides the total; not with --profile tiers [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    prompts: Option<u64>,
    /// Tokens in the shared part of a prompt (4 bytes per token)
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    shared_tokens: u32,
    /// Tokens in the unique part of a prompt (4 bytes per token)
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    question_tokens: u32,
    /// Number of tenants with --profile tiers; the prompts of a tenant share their first part [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    tenants: Option<u64>,
    /// Requests per wave with --profile burst [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    wave: Option<u64>,
    /// Pause after the last response of a wave with --profile burst, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    wave_pause_ms: u64,
    /// Maximum number of output tokens per request
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// Ask for exactly as many output tokens as allowed, as vLLM and SGLang understand it [default: true with --trace]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
        value_parser = BoolishValueParser::new())]
    ignore_eos: Option<bool>,
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
    /// Request responses that are not streamed; times of tokens are not measured
    #[arg(long, conflicts_with_all = ["ttft_goal_ms", "tpot_goal_ms"])]
    no_stream: bool,
    /// Goal for the time to first token, in milliseconds: the share of requests within it is reported
    #[arg(long, value_name = "MS", value_parser = positive)]
    ttft_goal_ms: Option<f64>,
    /// Goal for the time per output token, in milliseconds: the share of requests within it is reported
    #[arg(long, value_name = "MS", value_parser = positive)]
    tpot_goal_ms: Option<f64>,
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
    /// Three tiers by objective (critical, standard, sheddable), each sent by several tenants: who gets what is reported
    Tiers,
    /// Like shared-prefix, at a rate that rises from a tenth of --rate to it and falls again over --duration
    Diurnal,
}

impl Profile {
    /// Returns the value of the flag.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedPrefix => "shared-prefix",
            Self::Unique => "unique",
            Self::Burst => "burst",
            Self::Tiers => "tiers",
            Self::Diurnal => "diurnal",
        }
    }
}

fn target(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.query()) {
        (Some("http" | "https"), None) => Ok(uri),
        (Some("http" | "https"), Some(_)) => Err("the URL must not have a query".into()),
        _ => Err("the URL must begin with http:// or https://".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("the number must be above 0".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err("the time must be at most 365 days".into()),
        Err(error) => Err(format!("{error}; write a time such as 90s or 5m")),
    }
}
