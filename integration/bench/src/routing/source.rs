//! Where the workloads of the profiles come from: a trace, or generators.

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::spread_ties;
use signalbox_workload::generate::{
    Burst, Conversation, NoSharing, SharedPrefix, burst, conversation, no_sharing, shared_prefix,
};
use signalbox_workload::{Item, trace};

use super::args::Args;
use super::profile::Profile;
use super::workload::Workload;

/// The source of the workloads.
pub(crate) struct Source {
    trace: Option<(String, Vec<Item>)>,
}

impl Source {
    pub(crate) fn load(args: &Args) -> anyhow::Result<Self> {
        let Some(path) = &args.trace else { return Ok(Self { trace: None }) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let items = trace::parse(&text).with_context(|| format!("{name} is not a valid trace"))?;
        anyhow::ensure!(!items.is_empty(), "{name} has no requests");
        Ok(Self { trace: Some((name, items)) })
    }

    pub(crate) fn describe(&self) -> String {
        match &self.trace {
            Some((name, items)) => {
                format!("trace {name}, {} requests; other profiles are generated", items.len())
            }
            None => "no --trace: all profiles, including conversation, are generated from seeds".to_owned(),
        }
    }

    /// Describes the source of a profile's workloads.
    pub(crate) fn description(&self, profile: Profile) -> String {
        match &self.trace {
            Some((name, _)) if profile == Profile::Conversation => format!("slices of {name}"),
            _ => "generated".to_owned(),
        }
    }

    /// Creates the workload of a profile for a seed.
    pub(crate) fn workload(&self, args: &Args, profile: Profile, seed: u64) -> anyhow::Result<Workload> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let requests = args.requests;
        let items = match (profile, &self.trace) {
            (Profile::Conversation, Some((_, items))) => slice(items, args, seed, &mut rng),
            (Profile::Conversation, None) => {
                conversation(&Conversation { requests, ..Conversation::default() }, &mut rng)
            }
            (Profile::SharedPrefix, _) => shared_prefix(&SharedPrefix::default(), &mut rng),
            (Profile::Burst, _) => burst(&Burst::default(), &mut rng),
            (Profile::NoSharing | Profile::Heterogeneous, _) => {
                no_sharing(&NoSharing { requests, ..NoSharing::default() }, &mut rng)
            }
        };
        Workload::new(profile, args.pods, &items)
    }
}

/// Cuts a slice out of the trace, beginning at a different place for each seed.
fn slice(items: &[Item], args: &Args, seed: u64, rng: &mut SmallRng) -> Vec<Item> {
    let count = (args.requests as usize).min(items.len());
    let from = (items.len() - count) * seed as usize / args.seeds() as usize;
    let mut slice = items[from..from + count].to_vec();
    spread_ties(&mut slice, rng);
    let start_us = slice[0].at_us;
    slice.iter_mut().for_each(|item| item.at_us -= start_us);
    slice
}
