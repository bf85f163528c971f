//! The plan that the flags define.

use std::time::Duration;

use http::HeaderMap;

use super::{LoadArgs, Profile};
use crate::load::client::{Target, Trust};
use crate::load::requests::adapters::Adapters;
use crate::load::requests::body::{Api, ResponseMode};
use crate::load::requests::prompts::{PromptGenerator, PromptShape, Sharing};
use crate::load::requests::tiers::Tiers;
use crate::load::requests::{Requests, Source, trace};
use crate::load::results::goals::Goals;
use crate::load::schedule::{End, Pacing};
use crate::output::Output;

/// Number of prompt groups, and of prompts per group, by default.
const GROUPS: u64 = 20;
const PROMPTS: u64 = 5;

/// Number of tenants by default.
const TENANTS: u64 = 8;

/// Requests per second by default where requests come at a rate: more than the four simulated model servers of `signalbox up`
/// can serve.
const RATE_PER_SECOND: f64 = 80.0;

/// How long requests are sent by default, for workloads without an end.
const TIERS_DURATION: Duration = Duration::from_secs(30);
const DIURNAL_DURATION: Duration = Duration::from_secs(120);

/// A validated description of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) trust: Trust,
    /// Name of the workload in the report.
    pub(crate) profile: &'static str,
    pub(crate) end: End,
    /// Time at the start whose requests are not measured.
    pub(crate) warmup: Duration,
    pub(crate) goals: Goals,
    pub(crate) pacing: Pacing,
    pub(crate) requests: Requests,
    pub(crate) model: Option<String>,
    pub(crate) seed: u64,
    pub(crate) api: Api,
    pub(crate) response_mode: ResponseMode,
    pub(crate) ignore_eos: bool,
    pub(crate) output: Output,
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
    pub(crate) fn plan(self) -> Result<Plan, PlanError> {
        let (profile, requests, pacing, source) = match &self.trace {
            Some(file) => {
                let items = trace::read(file, self.speed, self.requests).map_err(PlanError::Unreadable)?;
                let pacing = Pacing::Trace { offsets: trace::offsets(&items) };
                ("trace", Some(items.len() as u64), pacing, Source::Trace(items))
            }
            None => {
                let pacing = self.pacing().map_err(PlanError::Usage)?;
                (self.profile.name(), self.count(), pacing, self.generated())
            }
        };
        let after = self.sending_time().map(|time| self.warmup + time);
        let (goals, ignore_eos) = (self.goals(), self.ignore_eos.unwrap_or(self.trace.is_some()));
        Ok(Plan {
            target: self.target(),
            trust: self.trust(),
            profile,
            end: End { requests, after },
            warmup: self.warmup,
            goals,
            pacing,
            requests: Requests {
                source,
                adapters: self.lora_zipf.map(|count| Adapters::new(self.seed, count)),
                tiers: (self.profile == Profile::Tiers).then(|| Tiers::new(self.tenants.unwrap_or(TENANTS))),
            },
            model: self.model,
            seed: self.seed,
            api: self.api,
            response_mode: if self.no_stream { ResponseMode::NonStreaming } else { ResponseMode::Streaming },
            ignore_eos,
            output: self.output,
        })
    }

    fn target(&self) -> Target {
        let mut headers = HeaderMap::new();
        for header in &self.header {
            headers.append(header.name.clone(), header.value.clone());
        }
        Target {
            url: self.to.clone(),
            headers,
            endpoint_header: self.endpoint_header.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
        }
    }

    fn trust(&self) -> Trust {
        match (&self.ca, self.insecure) {
            (Some(file), _) => Trust::Authorities(file.clone()),
            (None, true) => Trust::Anyone,
            (None, false) => Trust::Platform,
        }
    }

    fn goals(&self) -> Goals {
        let time = |ms: f64| Duration::from_secs_f64((ms / 1e3).min(1e9));
        Goals { ttft: self.ttft_goal_ms.map(time), tpot: self.tpot_goal_ms.map(time) }
    }

    /// Returns the number of generated requests, if it is limited.
    fn count(&self) -> Option<u64> {
        let by_groups =
            || self.sending_time().is_none().then(|| self.groups() * self.prompts.unwrap_or(PROMPTS));
        self.requests.or_else(by_groups)
    }

    fn groups(&self) -> u64 {
        self.groups.unwrap_or(GROUPS)
    }

    /// Returns how long requests are sent after the warmup, if that is limited.
    fn sending_time(&self) -> Option<Duration> {
        let default = match self.profile {
            Profile::Tiers => self.requests.is_none().then_some(TIERS_DURATION),
            // The length of a day.
            Profile::Diurnal => Some(DIURNAL_DURATION),
            Profile::SharedPrefix | Profile::Unique | Profile::Burst => None,
        };
        self.duration.or(default)
    }

    fn generated(&self) -> Source {
        let sharing = match self.profile {
            Profile::SharedPrefix | Profile::Burst | Profile::Tiers | Profile::Diurnal => Sharing::Groups,
            Profile::Unique => Sharing::None,
        };
        let shape = PromptShape {
            sharing,
            groups: self.groups(),
            shared_tokens: self.shared_tokens,
            question_tokens: self.question_tokens,
        };
        Source::Generated { prompts: PromptGenerator::new(self.seed, shape), max_tokens: self.max_tokens }
    }

    fn pacing(&self) -> Result<Pacing, String> {
        match self.profile {
            Profile::Burst if self.rate.is_some() || self.concurrency.is_some() => {
                return Err("--profile burst is paced by --wave; remove --rate and --concurrency".into());
            }
            Profile::Burst => {}
            _ if self.wave.is_some() => return Err("--wave needs --profile burst".into()),
            _ => {}
        }
        if self.tenants.is_some() && self.profile != Profile::Tiers {
            return Err("--tenants needs --profile tiers".into());
        }
        if self.profile == Profile::Tiers && (self.groups.is_some() || self.prompts.is_some()) {
            return Err(
                "--profile tiers has a group of prompts for each of its --tenants; remove --groups and \
                        --prompts, and set --requests or --duration"
                    .into(),
            );
        }
        let limit = self.concurrency;
        Ok(match (self.profile, self.rate) {
            (Profile::Burst, _) => Pacing::Waves {
                size: self.wave.unwrap_or(50),
                pause: Duration::from_millis(self.wave_pause_ms),
            },
            (Profile::Tiers, rate) => Pacing::Poisson { per_second: rate.unwrap_or(RATE_PER_SECOND), limit },
            (Profile::Diurnal, rate) => Pacing::Diurnal {
                peak_per_second: rate.unwrap_or(RATE_PER_SECOND),
                length: self.warmup + self.day()?,
                limit,
            },
            (_, Some(per_second)) => Pacing::Poisson { per_second, limit },
            (_, None) => Pacing::Closed { concurrency: limit.unwrap_or(16) },
        })
    }

    /// Returns the length of a day with `--profile diurnal`.
    fn day(&self) -> Result<Duration, String> {
        let day = self.duration.unwrap_or(DIURNAL_DURATION);
        if day.is_zero() { Err("--profile diurnal needs a --duration above 0".into()) } else { Ok(day) }
    }
}
