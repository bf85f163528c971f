//! Sums by which two processes see that they hold the same state.

use signalbox_types::{
    Adapters, EndpointKey, EndpointSpec, Load, ModelRewrite, Models, Objective, Origin, Rates, RewriteRule,
    RewriteTarget,
};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::adapter_residency::AdapterResidency;
use crate::assessment::{Assessment, Circuit};
use crate::change::Observed;
use crate::endpoint_observer::ScrapeStatus;

/// Wrapping sums over the parts of a state, one for each kind of change, so that a mismatch names its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Over the endpoints' specs.
    pub specs: u64,
    /// Over what is measured of them and what the owner makes of them.
    pub observed: u64,
    /// Over the work in flight and the acknowledged placements.
    pub loads: u64,
    /// Over the blocks they hold, and when each was last given a prompt that the pool did not know.
    pub placements: u64,
    /// Over what the pool says of models.
    pub models: u64,
}

/// Stands for a number that is not given.
const NONE: u64 = u64::MAX;

/// Sets these sums apart from others over two numbers.
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

    /// Takes the sums of one part away.
    pub(crate) fn subtract(&mut self, part: Self) {
        self.specs = self.specs.wrapping_sub(part.specs);
        self.observed = self.observed.wrapping_sub(part.observed);
        self.loads = self.loads.wrapping_sub(part.loads);
        self.placements = self.placements.wrapping_sub(part.placements);
        self.models = self.models.wrapping_sub(part.models);
    }

    /// The sums by kind, as gauges show them: modulo 2^53, which they hold exactly.
    pub fn shown(&self) -> [(&'static str, u64); 5] {
        let Self { specs, observed, loads, placements, models } = *self;
        let shown = |sum: u64| sum % (1 << 53);
        [
            ("specs", shown(specs)),
            ("observed", shown(observed)),
            ("loads", shown(loads)),
            ("placements", shown(placements)),
            ("models", shown(models)),
        ]
    }

    /// The names of the kinds in which two digests differ.
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

/// The encoding that is hashed is written out here, because the derived one may differ between compilers.
fn mix(words: &[u64]) -> u64 {
    let bytes: SmallVec<[u8; 128]> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    xxh3_64(&bytes)
}

/// Puts `after` in the place of `before` in a sum.
pub(crate) fn exchange(sum: &mut u64, before: u64, after: u64) {
    *sum = sum.wrapping_sub(before).wrapping_add(after);
}

fn text(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

pub(crate) fn of_spec(spec: &EndpointSpec) -> u64 {
    let EndpointSpec { name, address, metrics_url, engine, labels } = spec;
    let mut words = vec![text(name), text(&address.to_string()), text(metrics_url), text(engine.name())];
    words.extend(labels.iter().flat_map(|(key, value)| [text(key), text(value)]));
    mix(&words)
}

/// Nothing said sums up to nothing.
pub(crate) fn of_models(models: &Models) -> u64 {
    if models.is_empty() {
        return 0;
    }
    let mut words = vec![models.objectives().len() as u64];
    for Objective { name, priority } in models.objectives() {
        words.extend([text(name), i64::from(*priority) as u64]);
    }
    words.extend(models.rewrites().iter().map(of_rewrite));
    mix(&words)
}

fn of_rewrite(rewrite: &ModelRewrite) -> u64 {
    let ModelRewrite { name, created_ms, rules } = rewrite;
    let mut words = vec![text(name), created_ms.unwrap_or(NONE)];
    for RewriteRule { models, targets } in rules {
        words.push(models.len() as u64);
        words.extend(models.iter().map(|model| text(model)));
        words.push(targets.len() as u64);
        for RewriteTarget { model, weight } in targets {
            words.extend([text(model), weight.map_or(NONE, u64::from)]);
        }
    }
    mix(&words)
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
    mix(&[
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
        Circuit::Sound => 0,
        Circuit::Probing => 1,
        Circuit::Broken => 2,
    };
    let rates = [prefill_tokens_per_second, decode_token_us, decode_interference_us].map(u64::from);
    mix(&[endpoint.0, rates[0], rates[1], rates[2], circuit, u64::from(*ramp_percent)])
}

/// Unknown adapters sum up to nothing.
pub(crate) fn of_shelf(endpoint: EndpointKey, residency: Option<&AdapterResidency>) -> u64 {
    let Some(AdapterResidency { seen, device, host }) = residency else { return 0 };
    let Adapters { slots, running, waiting } = seen;
    let mut words = vec![endpoint.0, u64::from(*slots)];
    for names in [running, waiting, device, host] {
        words.push(names.len() as u64);
        words.extend(names.iter().map(|name| text(name)));
    }
    mix(&words)
}

/// No work in flight sums up to nothing.
pub(crate) fn of_load(endpoint: EndpointKey, origin: Origin, load: Load) -> u64 {
    if load == Load::ZERO {
        return 0;
    }
    mix(&[endpoint.0, origin.0, u64::from(load.requests), u64::from(load.prefills), load.prefill_tokens])
}

/// `seq` 0, which stands for never, sums up to nothing.
pub(crate) fn of_cold(endpoint: EndpointKey, seq: u64) -> u64 {
    if seq == 0 { 0 } else { mix(&[endpoint.0, seq, COLD]) }
}

pub(crate) fn of_acknowledged(origin: Origin, number: u64) -> u64 {
    mix(&[origin.0, number])
}
