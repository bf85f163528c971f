//! Checksums by which two processes verify that they hold the same state.

use signalbox_types::{
    Adapters, EndpointKey, EndpointSpec, Load, ModelRewrite, Models, Objective, Origin, Rates, RewriteRule,
    RewriteTarget,
};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::adapter_residency::AdapterResidency;
use super::assessment::{Assessment, Circuit};
use super::observed::{Observed, ScrapeStatus};

/// Wrapping sums over the parts of a pool state, one per kind of change, so that a mismatch names its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Sum over the endpoints' specifications.
    pub specs: u64,
    /// Sum over the measured values, assessments and adapters of the endpoints.
    pub observed: u64,
    /// Sum over the loads and the acknowledged placement numbers.
    pub loads: u64,
    /// Sum over the blocks that the endpoints hold and their last cold placements.
    pub placements: u64,
    /// Checksum of the objectives and model rewrites.
    pub models: u64,
}

/// Represents an absent number.
const NONE: u64 = u64::MAX;

/// Distinguishes the checksums of cold placements from others that also cover two numbers.
const COLD: u64 = u64::from_be_bytes(*b"cold seq");

impl Digest {
    /// Adds the sums of one part.
    pub(crate) fn add(&mut self, part: Self) {
        self.specs = self.specs.wrapping_add(part.specs);
        self.observed = self.observed.wrapping_add(part.observed);
        self.loads = self.loads.wrapping_add(part.loads);
        self.placements = self.placements.wrapping_add(part.placements);
        self.models = self.models.wrapping_add(part.models);
    }

    /// Subtracts the sums of one part.
    pub(crate) fn subtract(&mut self, part: Self) {
        self.specs = self.specs.wrapping_sub(part.specs);
        self.observed = self.observed.wrapping_sub(part.observed);
        self.loads = self.loads.wrapping_sub(part.loads);
        self.placements = self.placements.wrapping_sub(part.placements);
        self.models = self.models.wrapping_sub(part.models);
    }

    /// Returns the sums by kind for export as gauges: modulo 2^53, which a gauge represents exactly.
    pub fn gauge_values(&self) -> [(&'static str, u64); 5] {
        let Self { specs, observed, loads, placements, models } = *self;
        let gauge_values = |sum: u64| sum % (1 << 53);
        [
            ("specs", gauge_values(specs)),
            ("observed", gauge_values(observed)),
            ("loads", gauge_values(loads)),
            ("placements", gauge_values(placements)),
            ("models", gauge_values(models)),
        ]
    }

    /// Returns the names of the kinds in which two digests differ.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let kinds = [
            ("specs", self.specs == other.specs),
            ("observed", self.observed == other.observed),
            ("loads", self.loads == other.loads),
            ("placements", self.placements == other.placements),
            ("models", self.models == other.models),
        ];
        kinds.into_iter().filter(|(_, equal)| !equal).map(|(kind, _)| kind).collect()
    }
}

/// Hashes an explicit encoding, because a derived one may differ between compilers.
fn hash_words(words: &[u64]) -> u64 {
    let bytes: SmallVec<[u8; 128]> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    xxh3_64(&bytes)
}

/// Replaces `before` with `after` in a sum.
pub(crate) fn replace_part(sum: &mut u64, before: u64, after: u64) {
    *sum = sum.wrapping_sub(before).wrapping_add(after);
}

fn hash_text(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

pub(crate) fn of_spec(spec: &EndpointSpec) -> u64 {
    let EndpointSpec { name, address, metrics_url, engine, labels } = spec;
    let mut words = vec![
        hash_text(name),
        hash_text(&address.to_string()),
        hash_text(metrics_url),
        hash_text(engine.name()),
    ];
    words.extend(labels.iter().flat_map(|(key, value)| [hash_text(key), hash_text(value)]));
    hash_words(&words)
}

/// Returns the checksum of the models; 0 if there are none.
pub(crate) fn of_models(models: &Models) -> u64 {
    if models.is_empty() {
        return 0;
    }
    let mut words = vec![models.objectives().len() as u64];
    for Objective { name, priority } in models.objectives() {
        words.extend([hash_text(name), i64::from(*priority) as u64]);
    }
    words.extend(models.rewrites().iter().map(of_rewrite));
    hash_words(&words)
}

fn of_rewrite(rewrite: &ModelRewrite) -> u64 {
    let ModelRewrite { name, created_ms, rules } = rewrite;
    let mut words = vec![hash_text(name), created_ms.unwrap_or(NONE)];
    for RewriteRule { models, targets } in rules {
        words.push(models.len() as u64);
        words.extend(models.iter().map(|model| hash_text(model)));
        words.push(targets.len() as u64);
        for RewriteTarget { model, weight } in targets {
            words.extend([hash_text(model), weight.map_or(NONE, u64::from)]);
        }
    }
    hash_words(&words)
}

pub(crate) fn of_observed(endpoint: EndpointKey, observed: &Observed) -> u64 {
    let Observed { incarnation, scrape_status, scrape_status_since_ms, gauges, unbooked_requests, capacity } =
        observed;
    let scrape_status = match scrape_status {
        ScrapeStatus::Unknown => 0,
        ScrapeStatus::Fresh => 1,
        ScrapeStatus::Stale => 2,
        ScrapeStatus::Down => 3,
    };
    hash_words(&[
        endpoint.0,
        incarnation.0,
        scrape_status,
        *scrape_status_since_ms,
        u64::from(gauges.waiting),
        u64::from(gauges.running),
        gauges.kv_used_ppm.map_or(NONE, u64::from),
        u64::from(*unbooked_requests),
        capacity.map_or(NONE, |capacity| capacity.kv_tokens),
    ])
}

pub(crate) fn of_assessment(endpoint: EndpointKey, assessment: &Assessment) -> u64 {
    let Assessment { rates, circuit, ramp_percent } = assessment;
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = *rates;
    let circuit = match circuit {
        Circuit::Closed => 0,
        Circuit::HalfOpen => 1,
        Circuit::Open => 2,
    };
    let rates = [prefill_tokens_per_second, decode_token_us, decode_interference_us].map(u64::from);
    hash_words(&[endpoint.0, rates[0], rates[1], rates[2], circuit, u64::from(*ramp_percent)])
}

/// Returns the checksum of an endpoint's adapters; 0 if they are unknown.
pub(crate) fn of_adapters(endpoint: EndpointKey, residency: Option<&AdapterResidency>) -> u64 {
    let Some(AdapterResidency { reported, device, host }) = residency else { return 0 };
    let Adapters { slots, running, waiting } = reported;
    let mut words = vec![endpoint.0, u64::from(*slots)];
    for names in [running, waiting, device, host] {
        words.push(names.len() as u64);
        words.extend(names.iter().map(|name| hash_text(name)));
    }
    hash_words(&words)
}

/// Returns the checksum of a load; 0 if nothing is in flight.
pub(crate) fn of_load(endpoint: EndpointKey, origin: Origin, load: Load) -> u64 {
    if load == Load::ZERO {
        return 0;
    }
    hash_words(&[
        endpoint.0,
        origin.0,
        u64::from(load.requests),
        u64::from(load.prefills),
        load.prefill_tokens,
    ])
}

/// Returns the checksum of the last cold placement; 0 if there was none, which `seq` 0 means.
pub(crate) fn of_cold(endpoint: EndpointKey, seq: u64) -> u64 {
    if seq == 0 { 0 } else { hash_words(&[endpoint.0, seq, COLD]) }
}

pub(crate) fn of_acknowledged(origin: Origin, number: u64) -> u64 {
    hash_words(&[origin.0, number])
}
