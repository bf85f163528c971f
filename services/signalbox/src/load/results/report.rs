//! The results of a run in the form in which they are printed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::goals::Goals;
use super::latencies::Percentiles;
use super::quotients::{per_second, share};
use super::statistics::Statistics;
use super::tiers::{TierReport, TierStatistics};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// All requests were sent and answered.
    Complete,
    /// The user stopped the run.
    Interrupted,
}

/// The results of a run. `--output json` prints them as JSON. Only what was sent after the warmup counts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) target: String,
    pub(crate) profile: &'static str,
    pub(crate) model: String,
    /// Number of requests that were served or failed.
    pub(crate) requests: u64,
    /// Whether the run was stopped before all requests were answered.
    pub(crate) interrupted: bool,
    /// Time from the end of the warmup to the last response.
    pub(crate) duration_seconds: f64,
    /// Served requests ÷ the duration.
    pub(crate) requests_per_second: f64,
    /// Output tokens ÷ the duration. `None` if no server reports its usage; so are the total tokens.
    pub(crate) output_tokens_per_second: Option<f64>,
    /// Prompt and output tokens ÷ the duration.
    pub(crate) total_tokens_per_second: Option<f64>,
    pub(crate) errors: Errors,
    /// Time to first token. `None` if nothing was streamed.
    pub(crate) ttft_ms: Option<Percentiles>,
    /// Time per output token after the first, of each response. `None` if no server reports its usage.
    pub(crate) tpot_ms: Option<Percentiles>,
    /// Inter-token latency: time between two outputs of a response.
    pub(crate) itl_ms: Option<Percentiles>,
    pub(crate) latency_ms: Option<Percentiles>,
    /// `None` without goals.
    pub(crate) goals: Option<GoalsReport>,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Share of the prompt tokens that was found in caches, 0 to 1. `None` if it is unknown.
    pub(crate) cached_token_share: Option<f64>,
    /// Why the share is unknown.
    pub(crate) cached_tokens_unknown: Option<&'static str>,
    pub(crate) spread: Spread,
    /// What each tier got; empty if the workload has no tiers.
    pub(crate) tiers: Vec<TierReport>,
}

/// Requests that failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Errors {
    pub(crate) total: u64,
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// Requests of them that were refused because the pool could not take them.
    pub(crate) shed: u64,
}

/// How many responses were good.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct GoalsReport {
    /// The goal for the time to first token.
    pub(crate) ttft_ms: Option<f64>,
    /// The goal for the time per output token.
    pub(crate) tpot_ms: Option<f64>,
    /// Share of all requests within the goals, 0 to 1; failed requests are not.
    pub(crate) share: f64,
    /// Requests within the goals ÷ the duration.
    pub(crate) requests_per_second: f64,
}

/// The distribution of requests over endpoints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Spread {
    /// Requests per endpoint.
    pub(crate) endpoints: BTreeMap<String, u64>,
    /// Requests whose response names no endpoint.
    pub(crate) unknown: u64,
    /// Requests of the busiest endpoint divided by the mean over endpoints with requests. 1 is an even distribution.
    pub(crate) max_over_mean: Option<f64>,
}

/// What a run sent, and where.
#[derive(Clone, Debug)]
pub(crate) struct RunInfo {
    pub(crate) target: String,
    pub(crate) profile: &'static str,
    pub(crate) model: String,
    pub(crate) goals: Goals,
}

impl Report {
    /// Creates the report of a run that took `duration` after its warmup.
    pub(crate) fn new(
        run_info: RunInfo,
        statistics: &Statistics,
        tiers: Option<&TierStatistics>,
        (duration, finish): (Duration, Finish),
    ) -> Self {
        let by_kind =
            statistics.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect();
        let seconds = duration.as_secs_f64();
        let tokens = statistics.prompt_tokens + statistics.completion_tokens;
        let has_usage = statistics.with_usage > 0;
        Self {
            target: run_info.target,
            profile: run_info.profile,
            model: run_info.model,
            requests: statistics.requests(),
            interrupted: finish == Finish::Interrupted,
            duration_seconds: seconds,
            requests_per_second: per_second(statistics.served, seconds),
            output_tokens_per_second: has_usage.then(|| per_second(statistics.completion_tokens, seconds)),
            total_tokens_per_second: has_usage.then(|| per_second(tokens, seconds)),
            errors: Errors { total: statistics.failed(), by_kind, shed: statistics.shed() },
            ttft_ms: Percentiles::of(&statistics.ttft),
            tpot_ms: Percentiles::of(&statistics.tpot),
            itl_ms: Percentiles::of(&statistics.itl),
            latency_ms: Percentiles::of(&statistics.latency),
            goals: run_info.goals.are_set().then(|| GoalsReport::new(run_info.goals, statistics, seconds)),
            prompt_tokens: statistics.prompt_tokens,
            completion_tokens: statistics.completion_tokens,
            cached_token_share: statistics
                .cached_tokens
                .and_then(|cached_tokens| share(cached_tokens, statistics.prompt_tokens)),
            cached_tokens_unknown: why_cached_tokens_are_unknown(statistics),
            spread: Spread::of(&statistics.endpoints),
            tiers: tiers.map(|tiers| tiers.report(seconds)).unwrap_or_default(),
        }
    }

    /// Returns whether some requests were served and all that should have been. Among tiers, a full pool may refuse some.
    pub(crate) fn all_served(&self) -> bool {
        self.requests > self.errors.total && self.failed() == 0
    }

    /// Returns the number of requests that failed although they should have been served.
    pub(super) fn failed(&self) -> u64 {
        if self.tiers.is_empty() { self.errors.total } else { self.errors.total - self.errors.shed }
    }
}

fn why_cached_tokens_are_unknown(statistics: &Statistics) -> Option<&'static str> {
    match statistics {
        Statistics { cached_tokens: Some(_), .. } => None,
        Statistics { served: 0, .. } => Some("no request was served"),
        Statistics { with_usage: 0, .. } => Some("no response reports its usage"),
        _ => Some(
            "no response reports cached tokens; vLLM needs --enable-prompt-tokens-details, SGLang --enable-cache-report",
        ),
    }
}

impl GoalsReport {
    fn new(Goals { ttft, tpot }: Goals, statistics: &Statistics, seconds: f64) -> Self {
        let ms = |goal: Duration| goal.as_secs_f64() * 1e3;
        Self {
            ttft_ms: ttft.map(ms),
            tpot_ms: tpot.map(ms),
            share: share(statistics.good, statistics.requests()).unwrap_or(0.0),
            requests_per_second: per_second(statistics.good, seconds),
        }
    }
}

impl Spread {
    fn of(counts: &BTreeMap<Option<String>, u64>) -> Self {
        let endpoints: BTreeMap<String, u64> =
            counts.iter().filter_map(|(endpoint, count)| Some((endpoint.clone()?, *count))).collect();
        let unknown = counts.get(&None).copied().unwrap_or(0);
        let most = endpoints.values().max().copied().unwrap_or(0);
        let max_over_mean = share(most * endpoints.len() as u64, endpoints.values().sum());
        Self { endpoints, unknown, max_over_mean }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_intake::response::Usage;

    use super::*;
    use crate::load::requests::tiers::Tiers;
    use crate::load::results::outcome::{Failure, Measurement, Outcome};

    fn report(statistics: &Statistics, goals: Goals) -> Report {
        let run_info = RunInfo { target: "t".into(), profile: "unique", model: "m".into(), goals };
        Report::new(run_info, statistics, None, (Duration::from_secs(2), Finish::Interrupted))
    }

    #[test]
    fn the_spread_covers_only_known_endpoints() {
        let counts = BTreeMap::from([(Some("a".to_owned()), 3), (Some("b".to_owned()), 1), (None, 9)]);
        let spread = Spread::of(&counts);
        assert_eq!((spread.endpoints.len(), spread.unknown, spread.max_over_mean), (2, 9, Some(1.5)));
        assert_eq!(Spread::of(&BTreeMap::new()).max_over_mean, None);
    }

    #[test]
    fn missing_measurements_are_null_and_the_reason_is_told() {
        let json = serde_json::to_value(report(&Statistics::default(), Goals::default())).unwrap();
        for missing in
            ["ttft_ms", "tpot_ms", "itl_ms", "cached_token_share", "goals", "output_tokens_per_second"]
        {
            assert!(json[missing].is_null(), "{missing} in {json}");
        }
        assert_eq!((&json["interrupted"], &json["errors"]["total"]), (&true.into(), &0.into()));
        let reason = |usage| {
            let mut statistics = Statistics::default();
            statistics.add(&Ok(Measurement { usage, ..Measurement::default() }));
            report(&statistics, Goals::default()).cached_tokens_unknown
        };
        let usage = Usage { prompt_tokens: Some(9), ..Usage::default() };
        assert_eq!(Some("no response reports its usage"), reason(None));
        assert!(reason(Some(usage)).unwrap().contains("--enable-prompt-tokens-details"));
        assert_eq!(None, reason(Some(Usage { cached_tokens: Some(1), ..usage })));
    }

    #[test]
    fn failed_requests_miss_the_goals() {
        let goals = Goals { ttft: Some(Duration::from_millis(100)), tpot: None };
        let mut statistics = Statistics::new(goals);
        for ttft_ms in [50, 150] {
            let ttft = Some(Duration::from_millis(ttft_ms));
            statistics.add(&Ok(Measurement { ttft, ..Measurement::default() }));
        }
        statistics.add(&Err(Failure::Timeout));
        statistics.add(&Err(Failure::Timeout));
        let report = report(&statistics, goals);
        let goals = report.goals.unwrap();
        assert_eq!((Some(100.0), 0.25, 0.5), (goals.ttft_ms, goals.share, goals.requests_per_second));
        assert_eq!((1.0, 2), (report.requests_per_second, report.failed()));
    }

    #[test]
    fn a_run_that_serves_nothing_has_not_served_all() {
        let served = || Ok(Measurement::default());
        let all_served = |outcomes: &[Outcome]| {
            let mut statistics = Statistics::default();
            outcomes.iter().for_each(|outcome| statistics.add(outcome));
            report(&statistics, Goals::default()).all_served()
        };
        assert!(!all_served(&[]), "all requests were those of the warmup");
        assert!(all_served(&[served()]));
        assert!(!all_served(&[served(), Err(Failure::Timeout)]));
    }

    #[test]
    fn a_full_pool_may_refuse_requests_of_tiers_but_not_all() {
        let tiers = TierStatistics::new(&Tiers::new(1), Goals::default());
        let refused = |code| Err(Failure::Status { code, reason: Some("r".to_owned()) });
        let all_served = |outcomes: &[Outcome]| {
            let mut statistics = Statistics::default();
            outcomes.iter().for_each(|outcome| statistics.add(outcome));
            let run_info =
                RunInfo { target: "t".into(), profile: "tiers", model: "m".into(), goals: Goals::default() };
            let finish = (Duration::from_secs(2), Finish::Complete);
            Report::new(run_info, &statistics, Some(&tiers), finish).all_served()
        };
        assert!(all_served(&[Ok(Measurement::default()), refused(429)]));
        assert!(!all_served(&[refused(429)]));
        assert!(!all_served(&[Ok(Measurement::default()), refused(503)]), "the pool had no endpoint");
    }
}
