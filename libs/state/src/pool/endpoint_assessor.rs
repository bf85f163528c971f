//! Derives the assessment of one endpoint from what was observed there.

use signalbox_types::Rates;

use super::adapter_usage::AdapterUsage;
use super::circuit_breaker::CircuitBreaker;
use super::rate_estimator::RateEstimator;
use super::unbooked_load::UnbookedLoad;
use crate::pool_state::{Assessment, Circuit, EndpointState};
use crate::reports::{DecodeObservation, ResponseOutcome};

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
            first_scrape_ms: None,
        }
    }

    /// Restores the assessor from the state that an earlier owner left.
    pub(crate) fn from_endpoint_state(endpoint_state: &EndpointState, now_ms: u64) -> Self {
        let Assessment { rates, circuit, ramp_percent } = endpoint_state.assessment;
        let left_ms = RAMP_MS * u64::from(ramp_percent) / 100;
        let was_scraped = ramp_percent < 100;
        Self {
            unbooked_load: UnbookedLoad::starting_at(endpoint_state.observed.unbooked_requests),
            adapters: endpoint_state
                .adapters
                .as_deref()
                .map(AdapterUsage::from_residency)
                .unwrap_or_default(),
            rate_estimator: RateEstimator::new(rates),
            circuit_breaker: CircuitBreaker::from_circuit(circuit, now_ms),
            first_scrape_ms: was_scraped.then(|| now_ms.saturating_sub(RAMP_MS - left_ms)),
        }
    }

    /// Records a successful scrape.
    pub(crate) fn record_scrape(&mut self, now_ms: u64) {
        self.first_scrape_ms.get_or_insert(now_ms);
    }

    /// Resets what a restart of the model server invalidates. The rates stay, because the machine is the
    /// same.
    pub(crate) fn reset_after_restart(&mut self) {
        self.unbooked_load = UnbookedLoad::default();
        self.adapters.clear();
        self.circuit_breaker = CircuitBreaker::default();
        self.first_scrape_ms = None;
    }

    /// Records the decode speed that a collector reports.
    pub(crate) fn record_decode(&mut self, decode: DecodeObservation) {
        self.rate_estimator.record_decode(decode);
    }

    /// Records the outcome of a request. `running` is the number of requests that ran at the endpoint.
    pub(crate) fn record_response(&mut self, now_ms: u64, outcome: ResponseOutcome, running: u32) {
        match outcome {
            ResponseOutcome::Failed => self.circuit_breaker.record_failure(now_ms),
            ResponseOutcome::FirstOutput { work_tokens, elapsed_us } => {
                self.circuit_breaker.record_success();
                self.rate_estimator.record_first_output(work_tokens, elapsed_us, running);
            }
        }
    }

    /// Returns the state of the circuit breaker at `now_ms`.
    pub(crate) fn circuit(&mut self, now_ms: u64) -> Circuit {
        self.circuit_breaker.circuit(now_ms)
    }

    /// Returns the estimated rates, without rounding to the typical ones.
    pub(crate) fn estimated_rates(&self) -> Rates {
        self.rate_estimator.rates()
    }

    /// Returns the assessment at `now_ms` in a pool whose typical rates are `typical`; `None` if it has not
    /// changed.
    pub(crate) fn assess(&mut self, now_ms: u64, typical: Rates, before: Assessment) -> Option<Assessment> {
        let estimated = snap_to_typical(self.rate_estimator.rates(), typical);
        let rates = if is_significant(before.rates, estimated) { estimated } else { before.rates };
        let circuit = self.circuit_breaker.circuit(now_ms);
        let after = Assessment { rates, circuit, ramp_percent: self.ramp_percent(now_ms) };
        (after != before).then_some(after)
    }

    fn ramp_percent(&self, now_ms: u64) -> u8 {
        let Some(since_ms) = self.first_scrape_ms else { return 100 };
        let left_ms = RAMP_MS.saturating_sub(now_ms.saturating_sub(since_ms));
        (left_ms * 100 / RAMP_MS).next_multiple_of(RAMP_STEP_PERCENT) as u8
    }
}

/// Returns the estimated rates, with those close to `typical` replaced by it.
fn snap_to_typical(estimated: Rates, typical: Rates) -> Rates {
    let snap = |estimated: u32, typical: u32| {
        let is_typical =
            u64::from(estimated.abs_diff(typical)) * 100 <= u64::from(typical) * u64::from(TYPICAL_PERCENT);
        if is_typical { typical } else { estimated }
    };
    Rates {
        prefill_tokens_per_second: snap(
            estimated.prefill_tokens_per_second,
            typical.prefill_tokens_per_second,
        ),
        decode_token_us: snap(estimated.decode_token_us, typical.decode_token_us),
        decode_interference_us: snap(estimated.decode_interference_us, typical.decode_interference_us),
    }
}

fn is_significant(before: Rates, after: Rates) -> bool {
    let differs = |before: u32, after: u32| before.abs_diff(after) > before / SIGNIFICANT_PARTS;
    differs(before.prefill_tokens_per_second, after.prefill_tokens_per_second)
        || differs(before.decode_token_us, after.decode_token_us)
        || differs(before.decode_interference_us, after.decode_interference_us)
}
