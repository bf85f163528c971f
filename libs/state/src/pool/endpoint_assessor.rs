//! Derives the assessment of one endpoint from what was observed there.

use std::sync::Arc;

use signalbox_types::{ModelKey, Rates};

use super::adapter_usage::AdapterUsage;
use super::circuit_breaker::CircuitBreaker;
use super::model_circuits::ModelCircuits;
use super::prefill_estimator::{PoolRanges, PromptWork};
use super::probers::Probers;
use super::rate_estimator::RateEstimator;
use super::unbooked_load::UnbookedLoad;
use crate::pool_state::{Assessment, EndpointState};
use crate::reports::{DecodeObservation, ResponseOutcome, UsageReport};

/// How long an endpoint counts as new after its first sample, in milliseconds.
const RAMP_MS: u64 = 10_000;

/// The step size by which the ramp decreases, in percent.
const RAMP_STEP_PERCENT: u64 = 25;

/// Rates that differ by less than this fraction (one in so many parts) count as equal.
const SIGNIFICANT_PARTS: u32 = 32;

/// The deviation, in percent, up to which an endpoint's rate counts as the typical one of the pool. Most
/// pools are homogeneous, and telling endpoints apart by the noise of their estimates costs more than it
/// gains.
const TYPICAL_PERCENT: u32 = 25;

/// What the owner has observed at one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointAssessor {
    pub(crate) unbooked_load: UnbookedLoad,
    pub(crate) adapters: AdapterUsage,
    rate_estimator: RateEstimator,
    circuit_breaker: CircuitBreaker,
    model_circuits: ModelCircuits,
    /// Whether this incarnation has reported cached tokens. Some engines report them only if there are any.
    reports_cached_tokens: bool,
    first_scrape_ms: Option<u64>,
}

impl EndpointAssessor {
    /// Creates the assessor of an endpoint whose rates are assumed to be `prior` until observations show
    /// otherwise.
    pub(crate) fn new(prior: Rates) -> Self {
        Self {
            unbooked_load: UnbookedLoad::default(),
            adapters: AdapterUsage::default(),
            rate_estimator: RateEstimator::new(prior),
            circuit_breaker: CircuitBreaker::default(),
            model_circuits: ModelCircuits::default(),
            reports_cached_tokens: false,
            first_scrape_ms: None,
        }
    }

    /// Restores the assessor from the state that an earlier owner left, which believed these rates.
    pub(crate) fn from_endpoint_state(endpoint_state: &EndpointState, rates: Rates, now_ms: u64) -> Self {
        let Assessment { rates: _, circuit, ramp_percent, model_circuits } = &endpoint_state.assessment;
        let left_ms = RAMP_MS * u64::from(*ramp_percent) / 100;
        let was_scraped = *ramp_percent < 100;
        Self {
            unbooked_load: UnbookedLoad::starting_at(endpoint_state.observed.unbooked_requests),
            adapters: endpoint_state
                .adapters
                .as_deref()
                .map(AdapterUsage::from_residency)
                .unwrap_or_default(),
            rate_estimator: RateEstimator::from_published(rates),
            circuit_breaker: CircuitBreaker::from_circuit(*circuit, now_ms),
            model_circuits: ModelCircuits::from_published(model_circuits, now_ms),
            reports_cached_tokens: false,
            first_scrape_ms: was_scraped.then(|| now_ms.saturating_sub(RAMP_MS - left_ms)),
        }
    }

    /// Records a successful scrape.
    pub(crate) fn record_scrape(&mut self, now_ms: u64) {
        self.first_scrape_ms.get_or_insert(now_ms);
    }

    /// Records the decode speed that a collector reports.
    pub(crate) fn record_decode(&mut self, decode: DecodeObservation) {
        self.rate_estimator.record_decode(decode);
    }

    /// Returns whether an outcome changes nothing: the usual one, of requests that never failed.
    pub(crate) fn expects(&self, outcome: ResponseOutcome) -> bool {
        outcome == ResponseOutcome::FirstOutput
            && self.circuit_breaker.is_reset()
            && self.model_circuits.is_empty()
    }

    /// Records the outcome of a request for `model`.
    pub(crate) fn record_response(&mut self, now_ms: u64, model: ModelKey, outcome: ResponseOutcome) {
        match outcome {
            ResponseOutcome::Failed => self.circuit_breaker.record_failure(now_ms),
            ResponseOutcome::Refused => self.model_circuits.record_refusal(now_ms, model),
            ResponseOutcome::ProbeSent => {
                self.circuit_breaker.record_probe(now_ms);
                self.model_circuits.record_probe(now_ms, model);
            }
            // Says nothing about the endpoint's health.
            ResponseOutcome::Stored(_) | ResponseOutcome::Deleted(_) => {}
            ResponseOutcome::FirstOutput => {
                self.circuit_breaker.record_success();
                self.model_circuits.record_success(model);
            }
        }
    }

    /// Learns from the usage of one response. `running` is the number of requests that ran at the endpoint.
    pub(crate) fn record_usage(&mut self, usage: &UsageReport, running: u32, pool: PoolRanges) {
        self.reports_cached_tokens |= usage.cached_tokens.is_some();
        let cached_tokens = usage.cached_tokens.or(self.reports_cached_tokens.then_some(0));
        let work = match (usage.prompt_tokens, cached_tokens) {
            (Some(prompt), Some(cached)) => PromptWork::Reported(prompt.saturating_sub(cached)),
            (prompt, _) => {
                let prompt = prompt.unwrap_or(usage.predicted_tokens);
                PromptWork::Predicted(prompt.saturating_sub(usage.predicted_cached_tokens))
            }
        };
        if let Some(elapsed_us) = usage.sole_prefill_us {
            self.rate_estimator.record_first_output(work, elapsed_us, running, pool);
        }
    }

    /// Returns when the assessment changes next by time alone, in milliseconds: a circuit becomes half open, it
    /// is another replica's turn to probe, or the ramp takes its next step.
    pub(crate) fn next_change_ms(&self, now_ms: u64) -> Option<u64> {
        let circuits = [self.circuit_breaker.changes_at_ms(), self.model_circuits.changes_at_ms()];
        let ramp = self.first_scrape_ms.and_then(|since_ms| {
            let step_ms = RAMP_MS * RAMP_STEP_PERCENT / 100;
            let steps = now_ms.saturating_sub(since_ms) / step_ms + 1;
            (steps * step_ms <= RAMP_MS).then(|| since_ms + steps * step_ms)
        });
        circuits.into_iter().chain([ramp]).flatten().min()
    }

    /// Returns whether all circuits are closed, so that no replica needs to probe.
    pub(crate) fn needs_no_probe(&self) -> bool {
        self.circuit_breaker.is_closed() && self.model_circuits.is_empty()
    }

    /// Returns whether circuits at `now_ms` differ from those in `published`.
    pub(crate) fn has_other_circuits(
        &mut self,
        now_ms: u64,
        published: &Assessment,
        probers: &Probers,
    ) -> bool {
        self.circuit_breaker.circuit(now_ms, probers) != published.circuit
            || self.model_circuits.circuits(now_ms, probers) != *published.model_circuits
    }

    /// Returns the estimated rates, before they are compared with those of the pool.
    pub(crate) fn estimated_rates(&self, pool: PoolRanges) -> Rates {
        self.rate_estimator.rates(pool)
    }

    /// Returns whether a response has told the prefill rate, to this owner or an earlier one.
    pub(crate) fn knows_prefill(&self) -> bool {
        self.rate_estimator.knows_prefill()
    }

    /// Returns whether work that the engine reported contributed to the prefill rate.
    pub(crate) fn has_reported_work(&self) -> bool {
        self.rate_estimator.has_reported_work()
    }

    /// Returns whether the prefill rate is measured.
    pub(crate) fn has_measured_prefill(&self) -> bool {
        self.rate_estimator.has_measured_prefill()
    }

    /// Returns whether the decode rates are measured.
    pub(crate) fn has_measured_decode(&self) -> bool {
        self.rate_estimator.has_measured_decode()
    }

    /// Returns the assessment at `now_ms` of an endpoint with the rates `supported` in a pool whose typical
    /// rates are `typical`; `None` if it has not changed.
    pub(crate) fn assess(
        &mut self,
        now_ms: u64,
        (supported, typical): (Rates, Rates),
        before: &Assessment,
        probers: &Probers,
    ) -> Option<Assessment> {
        let model_circuits = self.model_circuits.circuits(now_ms, probers);
        let after = Assessment {
            rates: published_rates(supported, typical, before.rates),
            circuit: self.circuit_breaker.circuit(now_ms, probers),
            ramp_percent: self.ramp_percent(now_ms),
            model_circuits: if *before.model_circuits == *model_circuits {
                Arc::clone(&before.model_circuits)
            } else {
                model_circuits.into()
            },
        };
        (after != *before).then_some(after)
    }

    fn ramp_percent(&self, now_ms: u64) -> u8 {
        let Some(since_ms) = self.first_scrape_ms else { return 100 };
        let left_ms = RAMP_MS.saturating_sub(now_ms.saturating_sub(since_ms));
        (left_ms * 100 / RAMP_MS).next_multiple_of(RAMP_STEP_PERCENT) as u8
    }
}

/// Returns the rates to publish. A rate close to the typical one is replaced by it, so that equal endpoints do
/// not differ by the noise of their estimates. Other rates stay as `before` until they differ significantly.
fn published_rates(supported: Rates, typical: Rates, before: Rates) -> Rates {
    let publish = |of: fn(&Rates) -> u32| {
        let (supported, typical, before) = (of(&supported), of(&typical), of(&before));
        let is_typical =
            u64::from(supported.abs_diff(typical)) * 100 <= u64::from(typical) * u64::from(TYPICAL_PERCENT);
        match is_typical {
            true => typical,
            false if is_significant(before, supported) => supported,
            false => before,
        }
    };
    Rates {
        prefill_tokens_per_second: publish(|rates| rates.prefill_tokens_per_second),
        decode_token_us: publish(|rates| rates.decode_token_us),
        decode_interference_us: publish(|rates| rates.decode_interference_us),
    }
}

/// Returns whether a rate changed by enough to be published.
pub(crate) fn is_significant(before: u32, after: u32) -> bool {
    before.abs_diff(after) > before / SIGNIFICANT_PARTS
}
