//! The workloads of the benchmark, each with its saturation rate.

use std::path::Path;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::spread_ties;
use signalbox_workload::generate::{Conversation, SharedPrefix, conversation, shared_prefix};
use signalbox_workload::{Item, trace};

use crate::parallel;
use crate::policies::{Visibility, signalbox};
use crate::routing::{RunMetrics, Scene, Workload, saturation};
use crate::sim::{self, Kill, RunConfig, RunResult};

/// The scenes whose workloads run.
pub(super) const SCENES: [&str; 2] = ["conversation-trace", "shared-prefix"];

/// Number of requests of generated conversations, and in a quick run.
const GENERATED_REQUESTS: usize = 6_000;
const QUICK_REQUESTS: usize = 1_500;

/// Number of shared-prefix workloads run in sequence. Within a single one the distribution of work over the
/// pods is dominated by chance.
const SETS: usize = 8;

/// Number of requests used to find the saturation rate.
const PROBE_REQUESTS: usize = 1_500;

/// A workload with its saturation rate.
pub(super) struct RatedWorkload {
    pub(super) scene: &'static str,
    pub(super) seed: u64,
    pub(super) workload: Workload,
    saturation_per_second: f64,
}

/// Parameters of one run of a workload.
#[derive(Clone, Copy)]
pub(super) struct RunParameters<'a> {
    /// Load in percent of the rate at which least-load with one replica saturates.
    pub(super) load_percent: u32,
    pub(super) visibility: Visibility,
    pub(super) replicas: usize,
    pub(super) kills: &'a [Kill],
}

/// The conversation trace, or generated conversations that resemble it.
pub(super) struct Source {
    trace: Option<Vec<Item>>,
    requests: usize,
    sets: usize,
}

impl Source {
    /// Loads the trace, if any.
    ///
    /// # Errors
    /// Fails when the trace cannot be read.
    pub(super) fn load(path: Option<&Path>, is_quick: bool) -> anyhow::Result<Self> {
        let sets = if is_quick { 1 } else { SETS };
        let Some(path) = path else {
            return Ok(Self {
                trace: None,
                requests: if is_quick { QUICK_REQUESTS } else { GENERATED_REQUESTS },
                sets,
            });
        };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let items =
            trace::parse(&text).with_context(|| format!("{} is not a valid trace", path.display()))?;
        anyhow::ensure!(!items.is_empty(), "{} has no requests", path.display());
        let requests = if is_quick { QUICK_REQUESTS.min(items.len()) } else { items.len() };
        Ok(Self { trace: Some(items), requests, sets })
    }

    pub(super) fn describe(&self) -> String {
        let from =
            if self.trace.is_some() { "from the trace" } else { "generated, because --trace is not given" };
        format!("conversations: {} requests, {from}", self.requests)
    }

    fn items(&self, scene: &str, seed: u64) -> Vec<Item> {
        let mut rng = SmallRng::seed_from_u64(seed);
        match (scene, &self.trace) {
            ("shared-prefix", _) => shared_prefixes(self.sets, &mut rng),
            (_, Some(items)) => {
                let mut items = items[..self.requests].to_vec();
                spread_ties(&mut items, &mut rng);
                items
            }
            (_, None) => {
                let requests = self.requests as u32;
                conversation(&Conversation { requests, ..Conversation::default() }, &mut rng)
            }
        }
    }

    /// Creates the workloads of both scenes for each seed and finds their saturation rates.
    ///
    /// # Errors
    /// Fails when the pods cannot serve the trace.
    pub(super) fn rate_workloads(&self, seeds: u64) -> anyhow::Result<Vec<RatedWorkload>> {
        let workloads: Vec<_> =
            SCENES.iter().flat_map(|scene| (0..seeds).map(move |seed| (*scene, seed))).collect();
        let rated = parallel::map(&workloads, |(scene, seed)| {
            let items = self.items(scene, *seed);
            let profiles = Scene::find(scene).map_or_else(Vec::new, Scene::pod_profiles);
            let probe = Workload::new(&profiles, &items[..items.len().min(PROBE_REQUESTS)])?;
            let saturation_per_second = saturation::find(&probe, *seed);
            let workload = Workload::new(&profiles, &items)?;
            Ok(RatedWorkload { scene, seed: *seed, workload, saturation_per_second })
        });
        rated.into_iter().collect()
    }
}

/// Generates `sets` workloads in sequence, which share nothing with each other.
fn shared_prefixes(sets: usize, rng: &mut SmallRng) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for _ in 0..sets {
        let from_us = items.last().map_or(0, |item| item.at_us);
        let set = shared_prefix(&SharedPrefix::default(), rng);
        items.extend(set.into_iter().map(|item| Item { at_us: from_us + item.at_us, ..item }));
    }
    items
}

impl RatedWorkload {
    /// Runs the default policy.
    pub(super) fn run(&self, run: &RunParameters<'_>) -> RunResult {
        let contender = signalbox(run.visibility);
        let rate = self.saturation_per_second * f64::from(run.load_percent) / 100.0;
        sim::run(RunConfig {
            requests: &self.workload.requests,
            speed: rate / self.workload.rate_per_second,
            pods: &self.workload.pods,
            contender: &contender,
            replicas: run.replicas,
            kills: run.kills,
            seed: self.seed,
            flow: None,
        })
    }

    pub(super) fn metrics(&self, run_result: &RunResult) -> RunMetrics {
        RunMetrics::of_run(&self.workload, run_result)
    }
}
