//! The workloads that coherence is measured with, each at the rate that it is measured by.

use std::path::Path;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::spread;
use signalbox_workload::generate::{Conversation, SharedPrefix, conversation, shared_prefix};
use signalbox_workload::{Item, trace};

use crate::parallel;
use crate::policy::{Chooser, Contender, Sight};
use crate::routing::{Figures, Profile, Workload, saturation};
use crate::sim::{self, Blow, Ran, Setup};

/// Pods of every run.
const PODS: usize = 8;

/// Requests of a generated conversation, and of a quick run.
const GENERATED: usize = 6_000;
const QUICK: usize = 1_500;

/// So many of the shared-prefix workloads come one after the other: over one alone the pods' shares of work are a matter of chance.
const SETS: usize = 8;

/// Requests by which the rate is found at which a workload saturates the pods.
const PROBE: usize = 1_500;

/// A workload, and how fast it may be.
pub(super) struct Staged {
    pub(super) profile: Profile,
    pub(super) seed: u64,
    pub(super) workload: Workload,
    saturates_per_second: f64,
}

/// How one workload is run.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// Of the rate at which least-load with one replica saturates.
    pub(super) load_percent: u32,
    pub(super) sight: Sight,
    pub(super) replicas: usize,
    pub(super) blows: &'a [Blow],
}

/// The conversation trace, or conversations like its.
pub(super) struct Source {
    trace: Option<Vec<Item>>,
    requests: usize,
    sets: usize,
}

impl Source {
    /// # Errors
    /// A trace that cannot be read.
    pub(super) fn load(path: Option<&Path>, is_quick: bool) -> anyhow::Result<Self> {
        let sets = if is_quick { 1 } else { SETS };
        let Some(path) = path else {
            return Ok(Self { trace: None, requests: if is_quick { QUICK } else { GENERATED }, sets });
        };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let items = trace::parse(&text).with_context(|| format!("{} is no trace", path.display()))?;
        anyhow::ensure!(!items.is_empty(), "{} has no requests", path.display());
        let requests = if is_quick { QUICK.min(items.len()) } else { items.len() };
        Ok(Self { trace: Some(items), requests, sets })
    }

    pub(super) fn describe(&self) -> String {
        let from = if self.trace.is_some() { "of the trace" } else { "generated, as there is no --trace" };
        format!("{PODS} pods; conversations: {} requests, {from}", self.requests)
    }

    fn items(&self, profile: Profile, seed: u64) -> Vec<Item> {
        let mut rng = SmallRng::seed_from_u64(seed);
        match (profile, &self.trace) {
            (Profile::SharedPrefix, _) => shared_prefixes(self.sets, &mut rng),
            (_, Some(items)) => {
                let mut items = items[..self.requests].to_vec();
                spread(&mut items, &mut rng);
                items
            }
            (_, None) => {
                let requests = self.requests as u32;
                conversation(&Conversation { requests, ..Conversation::default() }, &mut rng)
            }
        }
    }

    /// Workloads of both profiles for each seed.
    ///
    /// # Errors
    /// A trace that the pods cannot serve.
    pub(super) fn stage(&self, seeds: u64) -> anyhow::Result<Vec<Staged>> {
        let profiles = [Profile::Conversation, Profile::SharedPrefix];
        let wanted: Vec<_> =
            profiles.iter().flat_map(|profile| (0..seeds).map(move |seed| (*profile, seed))).collect();
        let staged = parallel::map(&wanted, |(profile, seed)| {
            let items = self.items(*profile, *seed);
            let probe = Workload::new(*profile, PODS, &items[..items.len().min(PROBE)])?;
            let saturates_per_second = saturation::find(&probe, *seed);
            let workload = Workload::new(*profile, PODS, &items)?;
            Ok(Staged { profile: *profile, seed: *seed, workload, saturates_per_second })
        });
        staged.into_iter().collect()
    }
}

/// So many workloads one after the other, none of which shares anything with another.
fn shared_prefixes(sets: usize, rng: &mut SmallRng) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for _ in 0..sets {
        let from_us = items.last().map_or(0, |item| item.at_us);
        let set = shared_prefix(&SharedPrefix::default(), rng);
        items.extend(set.into_iter().map(|item| Item { at_us: from_us + item.at_us, ..item }));
    }
    items
}

impl Staged {
    /// Runs the default policy.
    pub(super) fn run(&self, run: &Run<'_>) -> Ran {
        let contender = ours(run.sight);
        let rate = self.saturates_per_second * f64::from(run.load_percent) / 100.0;
        sim::run(Setup {
            requests: &self.workload.requests,
            speed: rate / self.workload.rate_per_second,
            pods: &self.workload.pods,
            contender: &contender,
            replicas: run.replicas,
            blows: run.blows,
            seed: self.seed,
        })
    }

    pub(super) fn figures(&self, ran: &Ran) -> Figures {
        Figures::of(&self.workload, ran)
    }
}

/// The default policy.
pub(super) fn ours(sight: Sight) -> Contender {
    Contender { name: "ours".to_owned(), sight, chooser: Chooser::Decide(Box::default()) }
}
