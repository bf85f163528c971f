//! Accumulates the series of a page into a sample.

use std::sync::Arc;

use signalbox_types::{Adapters, Capacity, Counters, Gauges, Incarnation, PPM, Sample};

use super::family::Role;
use super::text_format::{Labels, Series};

/// The sum and the number of a family's finite values.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    sum: f64,
    count: u32,
}

impl Total {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// Returns the total if the page has at least one value.
    fn if_present(self) -> Option<Self> {
        (self.count > 0).then_some(self)
    }

    fn mean(self) -> f64 {
        self.sum / f64::from(self.count)
    }

    /// Returns the sum as a number of requests. Negative sums count as 0, and the conversion saturates.
    fn requests(self) -> u32 {
        self.sum.round() as u32
    }

    /// Returns the sum × `factor` as a counter. Negative sums count as 0, and the conversion saturates.
    fn counter(self, factor: f64) -> u64 {
        (self.sum * factor).round() as u64
    }
}

/// A histogram's sum and count.
#[derive(Clone, Copy, Debug, Default)]
struct Histogram {
    sum: Total,
    count: Total,
}

impl Histogram {
    /// Returns the histogram if the page has both its sum and its count.
    fn if_present(self) -> Option<Self> {
        (self.sum.if_present().is_some() && self.count.if_present().is_some()).then_some(self)
    }
}

/// The values found so far. Labels are parsed only when the sample is built.
#[derive(Debug, Default)]
pub(super) struct SampleBuilder<'a> {
    waiting: Total,
    running: Total,
    kv_use: Total,
    kv_use_legacy: Total,
    /// KV cache capacity from labels, in tokens.
    labeled_tokens: u64,
    block_tokens: Total,
    blocks: Total,
    /// Time of the last change, and the labels of that series.
    adapters: Option<(f64, Labels<'a>)>,
    inter_token: Histogram,
    inter_token_legacy: Histogram,
    generation_tokens: Total,
    prompt_tokens: Total,
    started_seconds: f64,
}

impl<'a> SampleBuilder<'a> {
    /// Adds a series. Values that are not finite are ignored.
    pub(super) fn add(&mut self, role: Role, series: Series<'a>) {
        if !series.value.is_finite() {
            return;
        }
        match role {
            Role::Waiting => self.waiting.add(series.value),
            Role::Running => self.running.add(series.value),
            Role::KvUse => self.kv_use.add(series.value),
            Role::KvUseLegacy => self.kv_use_legacy.add(series.value),
            Role::CacheLabels { block, blocks } => self.add_capacity(series.labels, block, blocks),
            Role::BlockTokens => self.block_tokens.add(series.value),
            Role::Blocks => self.blocks.add(series.value),
            Role::Adapters => self.add_adapters(series),
            Role::InterTokenSum => self.inter_token.sum.add(series.value),
            Role::InterTokenCount => self.inter_token.count.add(series.value),
            Role::InterTokenSumLegacy => self.inter_token_legacy.sum.add(series.value),
            Role::InterTokenCountLegacy => self.inter_token_legacy.count.add(series.value),
            Role::GenerationTokens => self.generation_tokens.add(series.value),
            Role::PromptTokens => self.prompt_tokens.add(series.value),
            Role::Started => self.started_seconds = self.started_seconds.max(series.value),
        }
    }

    /// Adds a KV cache capacity. A server that does not know its capacity yet reports a word instead of a
    /// number, which is ignored.
    fn add_capacity(&mut self, labels: Labels<'a>, block: &str, blocks: &str) {
        if let (Some(block), Some(blocks)) = (labels.number(block), labels.number(blocks)) {
            self.labeled_tokens = self.labeled_tokens.saturating_add(block.saturating_mul(blocks));
        }
    }

    /// Keeps the latest adapters. The server leaves a series behind for every set of adapters that it had.
    fn add_adapters(&mut self, series: Series<'a>) {
        let newest = self.adapters.is_none_or(|(latest, _)| series.value >= latest);
        if newest && series.labels.number("max_lora").is_some() {
            self.adapters = Some((series.value, series.labels));
        }
    }

    /// Returns the sample, or the `required` roles that the page has no value for.
    pub(super) fn build(self, required: &[Role]) -> Result<Sample, Vec<Role>> {
        let totals = [(Role::Waiting, self.waiting), (Role::Running, self.running)];
        let is_missing =
            |role: &Role| totals.iter().any(|(of, total)| of == role && total.if_present().is_none());
        let missing: Vec<Role> = required.iter().copied().filter(is_missing).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let kv_use = self.kv_use.if_present().or(self.kv_use_legacy.if_present());
        let gauges = Gauges {
            waiting: self.waiting.requests(),
            running: self.running.requests(),
            kv_used_ppm: kv_use.map(|total| (total.mean().clamp(0.0, 1.0) * f64::from(PPM)).round() as u32),
        };
        let incarnation = Incarnation((self.started_seconds * 1_000.0).round() as u64);
        Ok(Sample {
            gauges,
            capacity: self.capacity(),
            adapters: self.adapters(),
            incarnation,
            counters: self.counters(),
        })
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
            (Some(block), Some(blocks)) => (block.mean() * blocks.sum).round() as u64,
            _ => 0,
        };
        let kv_tokens = if self.labeled_tokens > 0 { self.labeled_tokens } else { by_gauges };
        (kv_tokens > 0).then_some(Capacity { kv_tokens })
    }

    fn adapters(&self) -> Option<Adapters> {
        let (_, labels) = self.adapters?;
        let slots = u32::try_from(labels.number("max_lora")?).unwrap_or(u32::MAX);
        let list = |label| labels.get(label).map(|names| parse_names(&names)).unwrap_or_default();
        Some(Adapters {
            slots,
            running: list("running_lora_adapters"),
            waiting: list("waiting_lora_adapters"),
        })
    }
}

fn parse_names(list: &str) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> =
        list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(Arc::from).collect();
    names.sort_unstable();
    names.dedup();
    names
}
