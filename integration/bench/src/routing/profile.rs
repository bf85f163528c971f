//! The workloads and the pods that serve them.

use anyhow::Context;
use clap::ValueEnum;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use signalbox_modelsim::ModelConfig;
use signalbox_types::Format;
use signalbox_workload::arrivals::{rate_per_second, spread};
use signalbox_workload::generate::{
    Burst, Conversation, NoSharing, SharedPrefix, burst, conversation, no_sharing, shared_prefix,
};
use signalbox_workload::{BYTES_PER_TOKEN, Item, trace};

use super::args::Args;
use super::bound::{Bound, one_cache, unbounded};
use crate::sim::{Coming, Prompt};

/// What requests look like, and the pods that serve them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// Conversations of several turns
    Conversation,
    /// 150 groups of 5 prompts, 6,000 shared and 1,200 own tokens
    SharedPrefix,
    /// Bursts of prompts with one beginning
    Burst,
    /// Prompts that have nothing in common
    NoSharing,
    /// As no-sharing, with half of the pods at half the speed
    Heterogeneous,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::SharedPrefix => "shared-prefix",
            Self::Burst => "burst",
            Self::NoSharing => "no-sharing",
            Self::Heterogeneous => "heterogeneous",
        }
    }

    /// Whether a cached prefix can help.
    pub(crate) fn shares(self) -> bool {
        matches!(self, Self::Conversation | Self::SharedPrefix | Self::Burst)
    }
}

/// A workload and the pods that serve it.
pub(crate) struct Workload {
    pub(crate) requests: Vec<Coming>,
    pub(crate) rate_per_second: f64,
    pub(crate) pods: Vec<ModelConfig>,
    /// For each request what no policy can do better.
    pub(crate) bounds: Vec<Bound>,
    /// For each request what the pods' memory allows at best.
    pub(crate) one_cache: Vec<Bound>,
}

/// Where workloads come from.
pub(crate) struct Source {
    trace: Option<(String, Vec<Item>)>,
}

impl Source {
    pub(crate) fn load(args: &Args) -> anyhow::Result<Self> {
        let Some(path) = &args.trace else { return Ok(Self { trace: None }) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let items = trace::parse(&text).with_context(|| format!("{name} is no trace"))?;
        anyhow::ensure!(!items.is_empty(), "{name} has no requests");
        Ok(Self { trace: Some((name, items)) })
    }

    pub(crate) fn describe(&self) -> String {
        match &self.trace {
            Some((name, items)) => {
                format!("trace {name}, {} requests; other profiles are generated", items.len())
            }
            None => "no --trace: all profiles are generated from seeds, the conversations too".to_owned(),
        }
    }

    /// Where the workloads of a profile come from, in words.
    pub(crate) fn of(&self, profile: Profile) -> String {
        match &self.trace {
            Some((name, _)) if profile == Profile::Conversation => format!("slices of {name}"),
            _ => "generated".to_owned(),
        }
    }

    /// The workload number `seed`.
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

/// So many requests of the trace, from another place for each seed.
fn slice(items: &[Item], args: &Args, seed: u64, rng: &mut SmallRng) -> Vec<Item> {
    let count = (args.requests as usize).min(items.len());
    let from = (items.len() - count) * seed as usize / args.seeds() as usize;
    let mut slice = items[from..from + count].to_vec();
    spread(&mut slice, rng);
    let began_us = slice[0].at_us;
    slice.iter_mut().for_each(|item| item.at_us -= began_us);
    slice
}

/// Tokens of a block, for the pool's index as for the pods' KV caches.
pub(crate) fn block_tokens() -> u32 {
    Format::default().block_bytes / BYTES_PER_TOKEN as u32
}

/// Whether a pod is one of the slower ones, where there are such.
pub(crate) fn is_slow(pod: usize) -> bool {
    pod % 2 == 1
}

impl Workload {
    /// `items`, in order of time, for so many pods.
    ///
    /// # Errors
    /// A request that no pod can serve, or requests without a rate.
    pub(crate) fn new(profile: Profile, pods: usize, items: &[Item]) -> anyhow::Result<Self> {
        let pods: Vec<_> = (0..pods).map(|pod| model(profile, pod)).collect();
        for (number, item) in items.iter().enumerate() {
            let tokens = u64::from(item.prompt.tokens()) + u64::from(item.output_tokens);
            anyhow::ensure!(
                tokens <= pods[0].limit_tokens(),
                "request {number} needs more than the KV cache has"
            );
        }
        let requests: Vec<_> = items.iter().map(coming).collect();
        let bounds = unbounded(&requests, &pods[0]);
        let one_cache = one_cache(&requests, &pods);
        let rate_per_second = rate_per_second(items);
        anyhow::ensure!(rate_per_second > 0.0, "the requests come all at the same time");
        Ok(Self { requests, rate_per_second, pods, bounds, one_cache })
    }
}

/// Pod 0 is never a slow one.
fn model(profile: Profile, pod: usize) -> ModelConfig {
    let fast = ModelConfig { block_size_tokens: block_tokens(), ..ModelConfig::default() };
    if profile != Profile::Heterogeneous || !is_slow(pod) {
        return fast;
    }
    ModelConfig {
        pass_base_us: fast.pass_base_us * 2,
        pass_per_decoding_us: fast.pass_per_decoding_us * 2,
        prefill_tokens_per_second: fast.prefill_tokens_per_second / 2,
        ..fast
    }
}

fn coming(item: &Item) -> Coming {
    let chain = item.prompt.chain(block_tokens());
    let blocks = chain.iter().map(|block| block.0).collect();
    let prompt = Prompt { chain: chain.into(), blocks, tokens: item.prompt.tokens() };
    Coming { at_us: item.at_us, prompt, output_tokens: item.output_tokens }
}
