//! What the tiers of a run got.

use std::collections::BTreeMap;

use serde::Serialize;

use super::goals::Goals;
use super::latencies::Percentiles;
use super::outcome::Outcome;
use super::quotients::{per_second, share};
use super::statistics::Statistics;
use crate::load::requests::tiers::{Tag, Tiers};

/// Statistics of each tier.
#[derive(Clone, Debug)]
pub(crate) struct TierStatistics {
    tiers: Vec<OfTier>,
}

#[derive(Clone, Debug)]
struct OfTier {
    name: &'static str,
    statistics: Statistics,
    /// Prompt and output tokens that each tenant was served.
    tenants: Vec<u64>,
}

impl TierStatistics {
    /// Creates statistics without outcomes.
    pub(crate) fn new(tiers: &Tiers, goals: Goals) -> Self {
        let of_tier = |name| OfTier {
            name,
            statistics: Statistics::new(goals),
            tenants: vec![0; usize::try_from(tiers.tenants()).unwrap_or(usize::MAX)],
        };
        Self { tiers: Tiers::names().map(of_tier).collect() }
    }

    /// Adds the outcome of a request.
    pub(crate) fn add(&mut self, tag: Tag, outcome: &Outcome) {
        let tier = &mut self.tiers[tag.tier];
        tier.statistics.add(outcome);
        let usage = outcome.as_ref().ok().and_then(|measurement| measurement.usage).unwrap_or_default();
        tier.tenants[tag.tenant] += usage.prompt_tokens.unwrap_or(0) + usage.completion_tokens.unwrap_or(0);
    }

    /// Returns what each tier got, the most important first. `seconds` is how long was measured.
    pub(crate) fn report(&self, seconds: f64) -> Vec<TierReport> {
        self.tiers.iter().map(|tier| tier.report(seconds)).collect()
    }
}

/// What a tier got.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TierReport {
    /// Name of the tier and of its objective.
    pub(crate) tier: &'static str,
    pub(crate) requests: u64,
    pub(crate) served: u64,
    /// Requests that were refused because the pool could not take them.
    pub(crate) shed: u64,
    /// `shed` ÷ `requests`, 0 to 1. `None` without requests.
    pub(crate) shed_share: Option<f64>,
    /// Requests that failed otherwise.
    pub(crate) failed: u64,
    pub(crate) ttft_ms: Option<Percentiles>,
    /// Prompt and output tokens that were served per second.
    pub(crate) tokens_per_second: f64,
    /// Jain's index of the tokens that the tenants were served: 1 if all got equally many, 1 ÷ tenants if one got all. `None`
    /// if nobody got any. All tenants of a tier send equally many requests of about the same size.
    pub(crate) fairness: Option<f64>,
    /// Refused requests by their reason.
    pub(crate) shed_by_reason: BTreeMap<String, u64>,
}

impl OfTier {
    fn report(&self, seconds: f64) -> TierReport {
        let Self { name, statistics, tenants } = self;
        let (requests, shed) = (statistics.requests(), statistics.shed());
        let tokens: u64 = tenants.iter().sum();
        let reasons = statistics.failures.iter().filter(|(failure, _)| failure.is_shed());
        TierReport {
            tier: name,
            requests,
            served: statistics.served,
            shed,
            shed_share: share(shed, requests),
            failed: statistics.failed() - shed,
            ttft_ms: Percentiles::of(&statistics.ttft),
            tokens_per_second: per_second(tokens, seconds),
            fairness: jain(tenants),
            shed_by_reason: reasons.map(|(failure, count)| (failure.to_string(), *count)).collect(),
        }
    }
}

/// Returns Jain's index, (Σx)² ÷ (n · Σx²); `None` if all are 0.
fn jain(values: &[u64]) -> Option<f64> {
    let sum = values.iter().sum::<u64>() as f64;
    let squares: f64 = values.iter().map(|value| (*value as f64).powi(2)).sum();
    (squares > 0.0).then(|| sum * sum / (values.len() as f64 * squares))
}

#[cfg(test)]
mod tests {
    use signalbox_intake::response::Usage;

    use super::*;
    use crate::load::results::outcome::{Failure, Measurement};

    #[test]
    fn fairness_is_that_of_tokens() {
        assert_eq!(Some(1.0), jain(&[5, 5, 5]));
        assert_eq!(Some(0.25), jain(&[9, 0, 0, 0]));
        assert_eq!(None, jain(&[0, 0]));
    }

    #[test]
    fn tiers_are_reported_apart() {
        let mut tiers = TierStatistics::new(&Tiers::new(2), Goals::default());
        let usage = Some(Usage { prompt_tokens: Some(90), completion_tokens: Some(10), cached_tokens: None });
        let served = Ok(Measurement { usage, ..Measurement::default() });
        let shed = Err(Failure::Status { code: 429, reason: Some("rejected-saturated".to_owned()) });
        for (tier, tenant, outcome) in [(0, 0, &served), (0, 1, &served), (2, 1, &served), (2, 1, &shed)] {
            tiers.add(Tag { tier, tenant }, outcome);
        }
        let [critical, standard, sheddable] = tiers.report(4.0).try_into().unwrap();
        assert_eq!(
            ("critical", 2, Some(1.0), Some(0.0)),
            (critical.tier, critical.served, critical.fairness, critical.shed_share)
        );
        assert_eq!(
            ("standard", 0, None, None),
            (standard.tier, standard.requests, standard.fairness, standard.shed_share)
        );
        assert_eq!((1, Some(0.5), Some(0.5)), (sheddable.shed, sheddable.shed_share, sheddable.fairness));
        assert_eq!(
            (50.0, 1),
            (critical.tokens_per_second, sheddable.shed_by_reason["status 429 rejected-saturated"])
        );
    }
}
