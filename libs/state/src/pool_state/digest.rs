//! Checksums by which two processes verify that they hold the same state.

use signalbox_types::{
    Adapters, EndpointKey, EndpointSpec, Load, MetricsTls, ModelKey, ModelRewrite, Models, Objective, Origin,
    Rates, ResponseKey, RewriteRule, RewriteTarget, TokenRatio,
};
use smallvec::{SmallVec, smallvec};
use xxhash_rust::xxh3::xxh3_64;

use super::adapter_residency::AdapterResidency;
use super::assessment::{Assessment, Circuit};
use super::cache_accuracy::CacheAccuracy;
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
    /// Sum over the token ratios of the models and the cache accuracies of the endpoints.
    pub usage: u64,
    /// Sum over what waits, what may go and the settings of flow control.
    pub flows: u64,
    /// Sum over the stored responses.
    pub responses: u64,
    /// Sum over the mean output tokens of the models, which peers of older releases do not know.
    pub outputs: u64,
    /// Sum over what can be revoked, and whether anything is.
    pub revocable: u64,
}

/// Represents an absent number.
pub(super) const NONE: u64 = u64::MAX;

/// Distinguishes the checksums of cold placements from others that also cover two numbers.
const COLD: u64 = u64::from_be_bytes(*b"cold seq");

/// Distinguishes the checksums of cache accuracies from those of token ratios.
const ACCURACY: u64 = u64::from_be_bytes(*b"accuracy");

impl Digest {
    /// Adds the sums of one part.
    pub(crate) fn add(&mut self, part: Self) {
        self.specs = self.specs.wrapping_add(part.specs);
        self.observed = self.observed.wrapping_add(part.observed);
        self.loads = self.loads.wrapping_add(part.loads);
        self.placements = self.placements.wrapping_add(part.placements);
        self.models = self.models.wrapping_add(part.models);
        self.usage = self.usage.wrapping_add(part.usage);
        self.flows = self.flows.wrapping_add(part.flows);
        self.responses = self.responses.wrapping_add(part.responses);
        self.outputs = self.outputs.wrapping_add(part.outputs);
        self.revocable = self.revocable.wrapping_add(part.revocable);
    }

    /// Subtracts the sums of one part.
    pub(crate) fn subtract(&mut self, part: Self) {
        self.specs = self.specs.wrapping_sub(part.specs);
        self.observed = self.observed.wrapping_sub(part.observed);
        self.loads = self.loads.wrapping_sub(part.loads);
        self.placements = self.placements.wrapping_sub(part.placements);
        self.models = self.models.wrapping_sub(part.models);
        self.usage = self.usage.wrapping_sub(part.usage);
        self.flows = self.flows.wrapping_sub(part.flows);
        self.responses = self.responses.wrapping_sub(part.responses);
        self.outputs = self.outputs.wrapping_sub(part.outputs);
        self.revocable = self.revocable.wrapping_sub(part.revocable);
    }

    /// Returns the sums by kind for export as gauges: modulo 2^53, which a gauge represents exactly.
    pub fn gauge_values(&self) -> [(&'static str, u64); 10] {
        let Self { specs, observed, loads, placements, models, usage, flows, responses, outputs, revocable } =
            *self;
        let gauge_values = |sum: u64| sum % (1 << 53);
        [
            ("specs", gauge_values(specs)),
            ("observed", gauge_values(observed)),
            ("loads", gauge_values(loads)),
            ("placements", gauge_values(placements)),
            ("models", gauge_values(models)),
            ("usage", gauge_values(usage)),
            ("flows", gauge_values(flows)),
            ("responses", gauge_values(responses)),
            ("outputs", gauge_values(outputs)),
            ("revocable", gauge_values(revocable)),
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
            ("usage", self.usage == other.usage),
            ("flows", self.flows == other.flows),
            ("responses", self.responses == other.responses),
            ("outputs", self.outputs == other.outputs),
            ("revocable", self.revocable == other.revocable),
        ];
        kinds.into_iter().filter(|(_, equal)| !equal).map(|(kind, _)| kind).collect()
    }
}

/// Hashes an explicit encoding, because a derived one may differ between compilers.
fn hash_words<const N: usize>(words: [u64; N]) -> u64 {
    xxh3_64(words.map(u64::to_le_bytes).as_flattened())
}

/// Like [`hash_words`], for a number of words that varies.
pub(super) fn hash_all(words: &[u64]) -> u64 {
    let words: SmallVec<[_; 16]> = words.iter().map(|word| word.to_le_bytes()).collect();
    xxh3_64(words.as_flattened())
}

/// Replaces `before` with `after` in a sum.
pub(crate) fn replace_part(sum: &mut u64, before: u64, after: u64) {
    *sum = sum.wrapping_sub(before).wrapping_add(after);
}

pub(super) fn hash_text(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

pub(crate) fn of_spec(spec: &EndpointSpec) -> u64 {
    let EndpointSpec { name, address, metrics_url, engine, labels, is_draining, metrics_tls } = spec;
    let metrics_tls = match metrics_tls {
        MetricsTls::Verified => 0,
        MetricsTls::Unverified => 1,
    };
    let mut words = vec![
        hash_text(name),
        hash_text(&address.to_string()),
        hash_text(metrics_url),
        hash_text(engine.name()),
        u64::from(*is_draining),
        metrics_tls,
    ];
    words.extend(labels.iter().flat_map(|(key, value)| [hash_text(key), hash_text(value)]));
    hash_all(&words)
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
    hash_all(&words)
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
    hash_all(&words)
}

pub(crate) fn of_observed(endpoint: EndpointKey, observed: &Observed) -> u64 {
    let Observed {
        incarnation,
        scrape_status,
        scrape_status_since_ms,
        gauges,
        unbooked_requests,
        capacity,
        work,
        is_asleep,
    } = observed;
    let scrape_status = match scrape_status {
        ScrapeStatus::Unknown => 0,
        ScrapeStatus::Fresh => 1,
        ScrapeStatus::Stale => 2,
        ScrapeStatus::Down => 3,
    };
    hash_words([
        endpoint.0,
        incarnation.0,
        scrape_status,
        *scrape_status_since_ms,
        u64::from(gauges.waiting),
        gauges.running.map_or(NONE, u64::from),
        gauges.kv_used_ppm.map_or(NONE, u64::from),
        u64::from(*unbooked_requests),
        capacity.map_or(NONE, |capacity| capacity.kv_tokens),
        work.requests,
        work.prompt_tokens,
        work.output_tokens,
        u64::from(*is_asleep),
    ])
}

pub(crate) fn of_assessment(endpoint: EndpointKey, assessment: &Assessment) -> u64 {
    let Assessment { rates, circuit, ramp_percent, model_circuits } = assessment;
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = *rates;
    // Followers of an earlier release do not know which replica probes.
    let code = |circuit: &Circuit| match circuit {
        Circuit::Closed => 0,
        Circuit::HalfOpen(_) => 1,
        Circuit::Open => 2,
    };
    let rates = [prefill_tokens_per_second, decode_token_us, decode_interference_us].map(u64::from);
    let mut words: SmallVec<[u64; 16]> =
        smallvec![endpoint.0, rates[0], rates[1], rates[2], code(circuit), u64::from(*ramp_percent)];
    words.extend(model_circuits.iter().flat_map(|of| [of.model.0, code(&of.circuit)]));
    hash_all(&words)
}

/// Returns the checksum of an endpoint's adapters; 0 if they are unknown.
pub(crate) fn of_adapters(endpoint: EndpointKey, residency: Option<&AdapterResidency>) -> u64 {
    let Some(AdapterResidency { reported, device, host }) = residency else { return 0 };
    let Adapters { slots, running, waiting, loaded } = reported;
    let mut words = vec![endpoint.0, u64::from(*slots)];
    let loaded = loaded.iter().flat_map(|loaded| [&loaded.device, &loaded.host]);
    for names in [running, waiting, device, host].into_iter().chain(loaded) {
        words.push(names.len() as u64);
        words.extend(names.iter().map(|name| hash_text(name)));
    }
    hash_all(&words)
}

/// Returns the checksum of a load; 0 if nothing is in flight.
pub(crate) fn of_load(endpoint: EndpointKey, origin: Origin, load: Load) -> u64 {
    if load == Load::ZERO {
        return 0;
    }
    hash_words([
        endpoint.0,
        origin.0,
        u64::from(load.requests),
        u64::from(load.prefills),
        load.prefill_tokens,
    ])
}

/// Returns the checksum of what is learned of a model's prompts; 0 if nothing was.
pub(crate) fn of_token_ratio(model: ModelKey, ratio: TokenRatio) -> u64 {
    let TokenRatio { bytes_per_token_milli, media_percent, output_tokens: _ } = ratio;
    let default = TokenRatio::default();
    if (bytes_per_token_milli, media_percent) == (default.bytes_per_token_milli, default.media_percent) {
        return 0;
    }
    hash_words([model.0, u64::from(bytes_per_token_milli), u64::from(media_percent)])
}

/// Returns the checksum of a model's mean output tokens; 0 if nothing was learned.
pub(crate) fn of_output_tokens(model: ModelKey, ratio: TokenRatio) -> u64 {
    match ratio.output_tokens {
        TokenRatio::DEFAULT_OUTPUT_TOKENS => 0,
        tokens => hash_words([model.0, u64::from(tokens)]),
    }
}

/// Returns the checksum of an endpoint's cache accuracy; 0 if its engine reported nothing.
pub(crate) fn of_cache_accuracy(endpoint: EndpointKey, accuracy: &CacheAccuracy) -> u64 {
    let CacheAccuracy { mean_error_tokens, capacity_percent } = *accuracy;
    if accuracy.is_default() {
        return 0;
    }
    let error = mean_error_tokens.map_or(NONE, |tokens| u64::from(tokens as u32));
    hash_words([endpoint.0, error, u64::from(capacity_percent), ACCURACY])
}

/// Returns the checksum of a stored response; 0 if it is not known.
pub(crate) fn of_stored_response(response: ResponseKey, endpoint: Option<EndpointKey>) -> u64 {
    endpoint.map_or(0, |endpoint| hash_words([response.0, endpoint.0]))
}

/// Returns the checksum of the last cold placement; 0 if there was none, which `seq` 0 means.
pub(crate) fn of_cold(endpoint: EndpointKey, seq: u64) -> u64 {
    if seq == 0 { 0 } else { hash_words([endpoint.0, seq, COLD]) }
}

pub(crate) fn of_acknowledged(origin: Origin, number: u64) -> u64 {
    hash_words([origin.0, number])
}
