//! The report with all measurements.

use serde::Serialize;

use super::profile::Profile;
use super::run_metrics::RunMetrics;

/// All measurements of a benchmark run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) pods: usize,
    pub(crate) seeds: u64,
    pub(crate) profiles: Vec<ProfileSummary>,
    pub(crate) results: Vec<PolicyResult>,
}

/// A profile. Lists have one entry per seed.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileSummary {
    pub(crate) profile: Profile,
    pub(crate) source: String,
    pub(crate) requests: Vec<usize>,
    pub(crate) saturation_per_second: Vec<f64>,
    /// What no policy can beat.
    pub(crate) lower_bounds: Vec<RunMetrics>,
    /// Estimates with one cache for all pods.
    pub(crate) single_cache: Vec<RunMetrics>,
}

/// The runs of one policy at one load.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyResult {
    pub(crate) profile: Profile,
    pub(crate) load_percent: u32,
    pub(crate) replicas: usize,
    pub(crate) policy: String,
    /// One entry per seed.
    pub(crate) runs: Vec<RunMetrics>,
}

impl PolicyResult {
    pub(super) fn key(&self) -> (Profile, u32, usize, &str) {
        (self.profile, self.load_percent, self.replicas, &self.policy)
    }

    pub(super) fn mean(&self) -> RunMetrics {
        RunMetrics::mean(&self.runs)
    }

    pub(super) fn is_split(&self) -> bool {
        self.policy.starts_with("split ")
    }
}

/// The policies to compare with each other: one profile, load and number of replicas.
pub(super) struct Comparison<'a> {
    pub(super) profile: Profile,
    pub(super) load_percent: u32,
    pub(super) replicas: usize,
    pub(super) results: Vec<&'a PolicyResult>,
    pub(super) lower_bound: RunMetrics,
    pub(super) single_cache: RunMetrics,
}

impl Report {
    /// Groups the results by profile, load and number of replicas, in the order in which they ran. Excludes
    /// static splits.
    pub(super) fn comparisons(&self) -> Vec<Comparison<'_>> {
        let mut comparisons: Vec<Comparison<'_>> = Vec::new();
        for result in self.results.iter().filter(|result| !result.is_split()) {
            let (profile, load_percent, replicas, _) = result.key();
            let is_same = |comparison: &Comparison<'_>| {
                (comparison.profile, comparison.load_percent, comparison.replicas)
                    == (profile, load_percent, replicas)
            };
            match comparisons.iter_mut().find(|comparison| is_same(comparison)) {
                Some(comparison) => comparison.results.push(result),
                None => {
                    let summary = self.profiles.iter().find(|summary| summary.profile == profile);
                    let mean = |of: fn(&ProfileSummary) -> &Vec<RunMetrics>| {
                        summary.map_or_else(RunMetrics::default, |summary| RunMetrics::mean(of(summary)))
                    };
                    let (lower_bound, single_cache) =
                        (mean(|summary| &summary.lower_bounds), mean(|summary| &summary.single_cache));
                    comparisons.push(Comparison {
                        profile,
                        load_percent,
                        replicas,
                        results: vec![result],
                        lower_bound,
                        single_cache,
                    });
                }
            }
        }
        comparisons
    }

    /// Returns the static splits of heterogeneous pods at one load.
    pub(super) fn splits(&self, load_percent: u32) -> impl Iterator<Item = &PolicyResult> {
        self.results.iter().filter(move |result| result.is_split() && result.load_percent == load_percent)
    }
}

impl Comparison<'_> {
    pub(super) fn metrics_of(&self, policy: &str) -> Option<RunMetrics> {
        self.results.iter().find(|result| result.policy == policy).map(|result| result.mean())
    }
}
