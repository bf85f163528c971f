//! The flags of `signalbox load`, and the plan they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Uri;

use super::adapters::Adapters;
use super::requests::{Requests, Source};
use super::schedule::Pacing;
use super::trace;
use super::workload::{Shape, Sharing, Workload};

/// What says how requests are made and paced, which a trace says by itself.
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

/// Send a workload and measure how it is served.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Where to send the requests, e.g. http://127.0.0.1:8080
    #[arg(long, value_name = "URL", value_parser = target)]
    pub(crate) to: Uri,
    /// What the prompts have in common and how they are sent
    #[arg(long, value_enum, default_value_t = Profile::SharedPrefix)]
    profile: Profile,
    /// Send the requests of a trace in Mooncake's format instead, each at its time whatever became of those before
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_TRACE)]
    trace: Option<PathBuf>,
    /// With --trace: how many times as fast as it was recorded
    #[arg(long, value_name = "X", value_parser = positive, default_value_t = 1.0, requires = "trace")]
    speed: f64,
    /// How many requests to send [default: groups × prompts, or all of the trace]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How many requests may be in flight at once [default: 16, or no limit with --rate]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "wave")]
    concurrency: Option<u64>,
    /// Send at this many requests per second, at random moments (Poisson), instead of as fast as answers come
    #[arg(long, value_name = "R", value_parser = positive, conflicts_with = "wave")]
    rate: Option<f64>,
    /// How many groups of prompts there are; each group shares its first part
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    groups: u64,
    /// How many questions each group gets before --requests is reached by further rounds of new questions
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    prompts: u64,
    /// Tokens in the shared part of a prompt (4 bytes a token)
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    shared_tokens: u32,
    /// Tokens in the part of a prompt that no other has (4 bytes a token)
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    question_tokens: u32,
    /// With --profile burst: how many requests a wave has [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    wave: Option<u64>,
    /// With --profile burst: rest between the last answer of a wave and the next wave
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    wave_pause_ms: u64,
    /// Tokens to ask for in each answer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// The model to ask for [default: the first that /v1/models names, else llama3-8b]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Ask LoRA adapters instead of a model: adapter-0 to adapter-(N-1), each drawn by Zipf's law (exponent 1)
    #[arg(long, value_name = "N", conflicts_with = "model", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lora_zipf: Option<u32>,
    /// What all random choices are made from; the same seed sends the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Which API to call
    #[arg(long, value_enum, default_value_t = Api::Chat)]
    api: Api,
    /// Ask for whole answers instead of streamed ones (no time to first token then)
    #[arg(long)]
    no_stream: bool,
    /// Give a request up after this many seconds
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_seconds: u64,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What the prompts have in common and how they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// Groups of prompts with a long first part in common
    SharedPrefix,
    /// Prompts of the same size that share nothing
    Unique,
    /// The prompts of shared-prefix in waves: all of a wave at once
    Burst,
}

impl Profile {
    /// The flag's value.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedPrefix => "shared-prefix",
            Self::Unique => "unique",
            Self::Burst => "burst",
        }
    }
}

/// An API of a model server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Api {
    /// POST /v1/chat/completions
    Chat,
    /// POST /v1/completions
    Completions,
}

/// Whether an answer comes as it is made or when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Streamed,
    Whole,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// A table
    Table,
    /// One JSON object
    Json,
}

/// Everything a run is made from, checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: Uri,
    /// What the report calls the workload.
    pub(super) profile: &'static str,
    pub(super) count: u64,
    pub(super) pacing: Pacing,
    pub(super) requests: Requests,
    pub(super) model: Option<String>,
    pub(super) seed: u64,
    pub(super) api: Api,
    pub(super) delivery: Delivery,
    pub(super) timeout: Duration,
    pub(super) output: Output,
}

impl LoadArgs {
    /// The plan these flags make. A trace is read.
    ///
    /// # Errors
    /// In words, when flags contradict each other or the trace is none.
    pub(super) fn plan(self) -> Result<Plan, String> {
        let (profile, count, pacing, source) = match &self.trace {
            Some(path) => {
                let items = trace::read(path, self.speed, self.requests)?;
                let pacing = Pacing::Recorded { moments: trace::moments(&items) };
                ("trace", items.len() as u64, pacing, Source::Recorded(items))
            }
            None => {
                let count = self.requests.unwrap_or(self.groups * self.prompts);
                (self.profile.name(), count, self.pacing()?, self.made())
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
            delivery: if self.no_stream { Delivery::Whole } else { Delivery::Streamed },
            timeout: Duration::from_secs(self.timeout_seconds),
            output: self.output,
        })
    }

    fn made(&self) -> Source {
        let sharing = match self.profile {
            Profile::SharedPrefix | Profile::Burst => Sharing::Groups,
            Profile::Unique => Sharing::Nothing,
        };
        let shape = Shape {
            sharing,
            groups: self.groups,
            shared_tokens: self.shared_tokens,
            question_tokens: self.question_tokens,
        };
        Source::Made { workload: Workload::new(self.seed, shape), max_tokens: self.max_tokens }
    }

    fn pacing(&self) -> Result<Pacing, String> {
        let burst = self.profile == Profile::Burst;
        match (burst, self.rate, self.concurrency) {
            (true, None, None) => Ok(Pacing::Waves {
                size: self.wave.unwrap_or(50),
                pause: Duration::from_millis(self.wave_pause_ms),
            }),
            (true, _, _) => {
                Err("--profile burst sends in waves: use --wave, not --rate or --concurrency".into())
            }
            (false, _, _) if self.wave.is_some() => Err("--wave is for --profile burst only".into()),
            (false, Some(per_second), limit) => Ok(Pacing::Poisson { per_second, limit }),
            (false, None, limit) => Ok(Pacing::Closed { concurrency: limit.unwrap_or(16) }),
        }
    }
}

fn target(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.query()) {
        (Some("http"), None) => Ok(uri),
        (Some("http"), Some(_)) => Err("a URL without a query is needed".into()),
        _ => Err("a URL that begins with http:// is needed".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn plan(flags: &[&str]) -> Result<Plan, String> {
        let line = ["load", "--to", "http://127.0.0.1:8080"].iter().chain(flags);
        Line::try_parse_from(line).map_err(|error| error.to_string())?.load.plan()
    }

    #[test]
    fn defaults_are_sane() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.count, plan.profile), (100, "shared-prefix"));
        assert_eq!(plan.pacing, Pacing::Closed { concurrency: 16 });
        assert_eq!(plan.delivery, Delivery::Streamed);
    }

    #[test]
    fn pacing_follows_the_flags() {
        let poisson = Pacing::Poisson { per_second: 2.5, limit: Some(3) };
        assert_eq!(plan(&["--rate", "2.5", "--concurrency", "3"]).unwrap().pacing, poisson);
        let waves = Pacing::Waves { size: 7, pause: Duration::from_millis(1_000) };
        assert_eq!(plan(&["--profile", "burst", "--wave", "7"]).unwrap().pacing, waves);
    }

    #[test]
    fn bad_flags_are_refused() {
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
