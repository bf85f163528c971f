//! Where the requests of the scenes come from: a trace, or generators.

use std::path::Path;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::{alternate, one_burst, spread_ties};
use signalbox_workload::generate::{
    Agents, Conversation, Lengths, SharedPrefix, SystemPrompts, agents, conversation, lengths, shared_prefix,
};
use signalbox_workload::{Item, trace};

use super::report::TraceSummary;
use super::scenes::{Arrivals, Scene, WorkloadKind};
use super::workload::Workload;

/// Number of parts of the trace, one for each seed. Those of tuning and of held-out seeds do not overlap.
const TRACE_PARTS: usize = 10;

/// Requests of other agents between two turns, for each pod. Nearly all answers are complete in that time.
const REQUESTS_BETWEEN_TURNS_PER_POD: u32 = 6;

/// Prompts per group where prompts share a prefix.
const PROMPTS_PER_GROUP: u32 = 8;

/// System prompts where half of the prompts share one.
const SYSTEM_PROMPTS: SystemPrompts = SystemPrompts { share: 0.5, count: 16, tokens: 2_000 };

/// The source of the workloads.
pub(crate) struct Source {
    trace: Option<(TraceSummary, Vec<Item>)>,
}

impl Source {
    /// Reads the trace, if there is one.
    ///
    /// # Errors
    /// Fails when the trace cannot be read.
    pub(crate) fn load(trace: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = trace else { return Ok(Self { trace: None }) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let items = trace::parse(&text).with_context(|| format!("{name} is not a valid trace"))?;
        anyhow::ensure!(!items.is_empty(), "{name} has no requests");
        let summary = TraceSummary {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: signalbox_bench_report::checksum(text.as_bytes()),
            requests: items.len(),
        };
        Ok(Self { trace: Some((summary, items)) })
    }

    /// Returns what was read.
    pub(crate) fn trace_summary(&self) -> Option<TraceSummary> {
        self.trace.as_ref().map(|(summary, _)| summary.clone())
    }

    pub(crate) fn describe(&self) -> String {
        match &self.trace {
            Some((trace, _)) => {
                format!("trace {}, {} requests; other scenes are generated", trace.file, trace.requests)
            }
            None => {
                "no --trace: all scenes, including conversation-trace, are generated from seeds".to_owned()
            }
        }
    }

    /// Describes the source of a scene's workloads.
    pub(crate) fn description(&self, scene: &Scene) -> String {
        match &self.trace {
            Some((trace, _)) if scene.workload == WorkloadKind::ConversationTrace => {
                format!("parts of {}", trace.file)
            }
            _ => "generated".to_owned(),
        }
    }

    /// Creates the workload of a scene with about `requests` requests for a seed, which is at least 1.
    ///
    /// # Errors
    /// Fails when the pods of the scene cannot serve a request.
    pub(crate) fn workload(&self, scene: &Scene, requests: u32, seed: u64) -> anyhow::Result<Workload> {
        let items = self.items(scene, requests, seed);
        Workload::new(&scene.pod_profiles(), &items)
            .with_context(|| format!("the workload of {} with seed {seed}", scene.name))
    }

    /// Returns the requests of a scene for a seed.
    pub(crate) fn items(&self, scene: &Scene, requests: u32, seed: u64) -> Vec<Item> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut items = match (scene.workload, &self.trace) {
            (WorkloadKind::ConversationTrace, Some((_, items))) => part(items, requests, seed, &mut rng),
            (WorkloadKind::ConversationTrace | WorkloadKind::Conversation, _) => {
                conversation(&Conversation { requests, ..Conversation::default() }, &mut rng)
            }
            (WorkloadKind::SharedPrefix, _) => {
                let (groups, prompts_per_group) = (requests / PROMPTS_PER_GROUP, PROMPTS_PER_GROUP);
                let shape = SharedPrefix { groups, prompts_per_group, ..SharedPrefix::default() };
                shared_prefix(&shape, &mut rng)
            }
            (WorkloadKind::Agents, _) => {
                let pods = scene.pod_profiles().len() as u32;
                let requests_between_turns = REQUESTS_BETWEEN_TURNS_PER_POD * pods;
                let shape = Agents { requests, requests_between_turns, ..Agents::default() };
                agents(&shape, &mut rng)
            }
            (WorkloadKind::Lengths, _) => {
                lengths(&Lengths { requests, system_prompts: SystemPrompts::NONE }, &mut rng)
            }
            (WorkloadKind::LengthsWithSharing, _) => {
                lengths(&Lengths { requests, system_prompts: SYSTEM_PROMPTS }, &mut rng)
            }
        };
        match scene.arrivals {
            Arrivals::Recorded | Arrivals::Poisson => {}
            Arrivals::Bursty => alternate(&mut items, &mut rng),
            Arrivals::OneBurst => one_burst(&mut items),
        }
        items
    }
}

/// Cuts the part of the trace for a seed, with at most `requests` requests.
fn part(items: &[Item], requests: u32, seed: u64, rng: &mut SmallRng) -> Vec<Item> {
    let length = (items.len() / TRACE_PARTS).max(2);
    let from = (seed as usize - 1) % TRACE_PARTS * length;
    let mut part: Vec<Item> = items.iter().skip(from).take(length.min(requests as usize)).cloned().collect();
    spread_ties(&mut part, rng);
    let start_us = part.first().map_or(0, |first| first.at_us);
    part.iter_mut().for_each(|item| item.at_us -= start_us);
    part
}
