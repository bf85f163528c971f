//! Accumulates the series of a page into a sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{Capacity, Counters, Gauges, Incarnation, PPM, Sample, Work};

use super::adapter_lists::AdapterLists;
use super::engines::Table;
use super::family::{Family, Role};
use super::text_format::{Labels, Series, is_page_of};
use super::totals::{Histogram, Total};

/// The values found so far. Labels are parsed only when they are needed.
#[derive(Debug, Default)]
pub(super) struct SampleBuilder<'a> {
    waiting: Total,
    running: Total,
    kv_use: Total,
    kv_use_legacy: Total,
    labeled: LabeledCapacity,
    block_tokens: Total,
    blocks: Total,
    adapters: AdapterLists<'a>,
    is_asleep: bool,
    inter_token: Histogram,
    inter_token_legacy: Histogram,
    generation_tokens: Total,
    prompt_tokens: Total,
    requests: Total,
    started_seconds: f64,
}

impl<'a> SampleBuilder<'a> {
    /// Adds a series. Values that are not finite are ignored.
    pub(super) fn add(&mut self, family: &Family<'_>, series: Series<'a>) {
        if let Some(total) = self.total_of(family.role) {
            return total.add(family.part_of(series.labels), series.value);
        }
        let value = series.value;
        if !value.is_finite() {
            return;
        }
        match family.role {
            Role::CacheLabels { block, blocks } => {
                self.labeled.add(family.part_of(series.labels), series.labels, block, blocks);
            }
            Role::Adapters => self.adapters.add_active(series),
            Role::LoadedAdapter => self.adapters.add_loaded(series),
            Role::LoadedAdapters => self.adapters.note_loaded(),
            Role::AdapterSlots => self.adapters.add_slots(value),
            Role::Awake => self.is_asleep |= value <= 0.0,
            Role::Asleep => self.is_asleep |= value > 0.0,
            Role::Started => self.started_seconds = self.started_seconds.max(value),
            _ => {}
        }
    }

    /// Returns the total of a role that sums its series.
    fn total_of(&mut self, role: Role<'_>) -> Option<&mut Total> {
        Some(match role {
            Role::Waiting => &mut self.waiting,
            Role::Running => &mut self.running,
            Role::KvUse => &mut self.kv_use,
            Role::KvUseLegacy => &mut self.kv_use_legacy,
            Role::BlockTokens => &mut self.block_tokens,
            Role::Blocks => &mut self.blocks,
            Role::InterTokenSum => &mut self.inter_token.sum,
            Role::InterTokenCount => &mut self.inter_token.count,
            Role::InterTokenSumLegacy => &mut self.inter_token_legacy.sum,
            Role::InterTokenCountLegacy => &mut self.inter_token_legacy.count,
            Role::GenerationTokens => &mut self.generation_tokens,
            Role::PromptTokens => &mut self.prompt_tokens,
            Role::Requests => &mut self.requests,
            _ => return None,
        })
    }

    /// Returns the sample of `page`, or the roles that it lacks a value for.
    pub(super) fn build(self, table: &Table<'_>, page: &[u8]) -> Result<Sample, Vec<Role<'static>>> {
        let missing = self.missing(table, page);
        if !missing.is_empty() {
            return Err(missing);
        }
        let kv_use = self.kv_use.if_present().or(self.kv_use_legacy.if_present());
        // A page without any load gauge is idle. A queue alone does not tell what runs.
        let is_running_known = self.running.is_seen() || !self.waiting.is_seen();
        let gauges = Gauges {
            waiting: self.waiting.requests(),
            running: (table.reports(Role::Running) && is_running_known).then(|| self.running.requests()),
            kv_used_ppm: kv_use.map(|total| (total.mean().clamp(0.0, 1.0) * f64::from(PPM)).round() as u32),
        };
        Ok(Sample {
            gauges,
            capacity: self.capacity(),
            incarnation: Incarnation((self.started_seconds * 1_000.0).round() as u64),
            counters: self.counters(),
            work: Work {
                requests: self.requests.counter(1.0),
                prompt_tokens: self.prompt_tokens.counter(1.0),
                output_tokens: self.generation_tokens.counter(1.0),
            },
            is_asleep: self.is_asleep,
            adapters: self.adapters.build().map(Arc::new),
        })
    }

    /// Returns the load gauges that the page lacks a value for. One that is absent is lacking only if the
    /// engine always reports it, or if the page is not the engine's; one whose values are not finite always.
    fn missing(&self, table: &Table<'_>, page: &[u8]) -> Vec<Role<'static>> {
        let is_any_seen = self.waiting.is_seen() || self.running.is_seen();
        let is_idle = table.is_lazy && !is_any_seen && is_page_of(page, table.prefixes);
        let is_missing = |role: Role<'_>, total: &Total| {
            let is_required = table.required.contains(&role) || !is_any_seen;
            total.if_present().is_none() && (total.is_seen() || is_required && !is_idle)
        };
        [(Role::Waiting, &self.waiting), (Role::Running, &self.running)]
            .into_iter()
            .filter(|(role, total)| table.reports(*role) && is_missing(*role, total))
            .map(|(role, _)| role)
            .collect()
    }

    /// Returns all counters or none: a missing counter would look like one that does not grow.
    fn counters(&self) -> Option<Counters> {
        let inter_token = self.inter_token.if_present().or(self.inter_token_legacy.if_present())?;
        Some(Counters {
            inter_token_us_sum: inter_token.sum.counter(1e6),
            inter_token_count: inter_token.count.counter(1.0),
            generation_tokens: self.generation_tokens.if_present()?.counter(1.0),
            prompt_tokens: self.prompt_tokens.if_present()?.counter(1.0),
        })
    }

    fn capacity(&self) -> Option<Capacity> {
        let by_gauges = match (self.block_tokens.if_present(), self.blocks.if_present()) {
            (Some(block), Some(blocks)) => (block.mean() * blocks.sum()).round() as u64,
            _ => 0,
        };
        let labeled_tokens = self.labeled.tokens();
        let kv_tokens = if labeled_tokens > 0 { labeled_tokens } else { by_gauges };
        (kv_tokens > 0).then_some(Capacity { kv_tokens })
    }
}

/// The KV cache capacity from labels.
#[derive(Debug, Default)]
struct LabeledCapacity {
    /// Tokens of each part of the server.
    parts: BTreeMap<Part, u64>,
}

/// What a series with a capacity describes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// A named part.
    Named(String),
    /// Whatever has these tokens per block and blocks. Ranks that repeat the capacity of their whole group
    /// are one part.
    Sized(u64, u64),
}

impl LabeledCapacity {
    /// Adds a capacity. A server that does not know its capacity yet reports a word instead of a number,
    /// which is ignored.
    fn add(&mut self, part: Option<String>, labels: Labels<'_>, block: &str, blocks: &str) {
        if let (Some(block), Some(blocks)) = (labels.number(block), labels.number(blocks)) {
            let tokens = self.parts.entry(part.map_or(Part::Sized(block, blocks), Part::Named)).or_default();
            *tokens = (*tokens).max(block.saturating_mul(blocks));
        }
    }

    fn tokens(&self) -> u64 {
        self.parts.values().fold(0, |sum, tokens| sum.saturating_add(*tokens))
    }
}
