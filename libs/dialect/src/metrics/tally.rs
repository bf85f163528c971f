//! What a walk over a page has gathered.

use std::sync::Arc;

use signalbox_types::{Adapters, Capacity, Counters, Gauges, Incarnation, PPM, Sample};

use super::page::{Labels, Line};
use super::table::Role;

/// The finite values of a family's series.
#[derive(Clone, Copy, Debug, Default)]
struct Series {
    sum: f64,
    count: u32,
}

impl Series {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn told(self) -> Option<Self> {
        (self.count > 0).then_some(self)
    }

    fn mean(self) -> f64 {
        self.sum / f64::from(self.count)
    }

    /// The sum as a number of requests. Below zero is none, and the conversion saturates.
    fn requests(self) -> u32 {
        self.sum.round() as u32
    }

    /// The sum as a counter, in units of which it has so many. Below zero is none, and the conversion saturates.
    fn counter(self, units: f64) -> u64 {
        (self.sum * units).round() as u64
    }
}

/// A histogram's sum and count.
#[derive(Clone, Copy, Debug, Default)]
struct Histogram {
    sum: Series,
    count: Series,
}

impl Histogram {
    fn told(self) -> Option<Self> {
        (self.sum.told().is_some() && self.count.told().is_some()).then_some(self)
    }
}

/// What has been gathered so far; labels stay as they stand on the page until the end.
#[derive(Debug, Default)]
pub(super) struct Tally<'a> {
    waiting: Series,
    running: Series,
    kv_use: Series,
    kv_use_older: Series,
    labelled_tokens: u64,
    block_tokens: Series,
    blocks: Series,
    adapters: Option<(f64, Labels<'a>)>,
    inter_token: Histogram,
    inter_token_older: Histogram,
    generation_tokens: Series,
    prompt_tokens: Series,
    started_seconds: f64,
}

impl<'a> Tally<'a> {
    /// Adds a line. What does not tell anything changes nothing.
    pub(super) fn add(&mut self, role: Role, line: Line<'a>) {
        if !line.value.is_finite() {
            return;
        }
        match role {
            Role::Waiting => self.waiting.add(line.value),
            Role::Running => self.running.add(line.value),
            Role::KvUse => self.kv_use.add(line.value),
            Role::KvUseOlder => self.kv_use_older.add(line.value),
            Role::CacheLabels { block, blocks } => self.add_cache(line.labels, block, blocks),
            Role::BlockTokens => self.block_tokens.add(line.value),
            Role::Blocks => self.blocks.add(line.value),
            Role::Adapters => self.add_adapters(line),
            Role::InterTokenSum => self.inter_token.sum.add(line.value),
            Role::InterTokenCount => self.inter_token.count.add(line.value),
            Role::InterTokenSumOlder => self.inter_token_older.sum.add(line.value),
            Role::InterTokenCountOlder => self.inter_token_older.count.add(line.value),
            Role::GenerationTokens => self.generation_tokens.add(line.value),
            Role::PromptTokens => self.prompt_tokens.add(line.value),
            Role::Started => self.started_seconds = self.started_seconds.max(line.value),
        }
    }

    /// A server that does not know the size yet has a word in place of a number: it tells nothing.
    fn add_cache(&mut self, labels: Labels<'a>, block: &str, blocks: &str) {
        if let (Some(block), Some(blocks)) = (labels.number(block), labels.number(blocks)) {
            self.labelled_tokens = self.labelled_tokens.saturating_add(block.saturating_mul(blocks));
        }
    }

    /// The server leaves a series behind for every set of adapters that it had; the latest is in force.
    fn add_adapters(&mut self, line: Line<'a>) {
        let newest = self.adapters.is_none_or(|(latest, _)| line.value >= latest);
        if newest && line.labels.number("max_lora").is_some() {
            self.adapters = Some((line.value, line.labels));
        }
    }

    /// What was gathered, or those of the `needed` roles that nothing was gathered for.
    pub(super) fn finish(self, needed: &[Role]) -> Result<Sample, Vec<Role>> {
        let told = [(Role::Waiting, self.waiting), (Role::Running, self.running)];
        let is_missing =
            |role: &Role| told.iter().any(|(told, series)| told == role && series.told().is_none());
        let missing: Vec<Role> = needed.iter().copied().filter(is_missing).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let kv_use = self.kv_use.told().or(self.kv_use_older.told());
        let gauges = Gauges {
            waiting: self.waiting.requests(),
            running: self.running.requests(),
            kv_used_ppm: kv_use.map(|series| (series.mean().clamp(0.0, 1.0) * f64::from(PPM)).round() as u32),
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

    /// All or nothing: a counter that is not told would look like one that stands still.
    fn counters(&self) -> Option<Counters> {
        let inter_token = self.inter_token.told().or(self.inter_token_older.told())?;
        Some(Counters {
            inter_token_us_sum: inter_token.sum.counter(1e6),
            inter_token_count: inter_token.count.counter(1.0),
            generation_tokens: self.generation_tokens.told()?.counter(1.0),
            prompt_tokens: self.prompt_tokens.told()?.counter(1.0),
        })
    }

    fn capacity(&self) -> Option<Capacity> {
        let by_gauges = match (self.block_tokens.told(), self.blocks.told()) {
            (Some(block), Some(blocks)) => (block.mean() * blocks.sum).round() as u64,
            _ => 0,
        };
        let kv_tokens = if self.labelled_tokens > 0 { self.labelled_tokens } else { by_gauges };
        (kv_tokens > 0).then_some(Capacity { kv_tokens })
    }

    fn adapters(&self) -> Option<Adapters> {
        let (_, labels) = self.adapters?;
        let slots = u32::try_from(labels.number("max_lora")?).unwrap_or(u32::MAX);
        let list = |label| labels.get(label).map(|names| names_of(&names)).unwrap_or_default();
        Some(Adapters {
            slots,
            running: list("running_lora_adapters"),
            waiting: list("waiting_lora_adapters"),
        })
    }
}

fn names_of(list: &str) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> =
        list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(Arc::from).collect();
    names.sort_unstable();
    names.dedup();
    names
}
