//! What the pool's owner remembers of an endpoint, to assess it.

use signalbox_types::Rates;

use crate::adapter_residency::AdapterUsage;
use crate::assessment::{Assessment, Circuit};
use crate::circuit_breaker::CircuitBreaker;
use crate::feedback::ResponseOutcome;
use crate::pool_state::EndpointState;
use crate::rate_estimator::{DecodeObservation, RateEstimator};
use crate::unbooked_load::UnbookedLoad;

/// An endpoint counts as new for so long after its first reading.
const RAMP_MS: u64 = 10_000;

/// The ramp falls in steps of so many percent.
const RAMP_STEP_PERCENT: u64 = 25;

/// Rates that differ by less than one part in so many are the same.
const SIGNIFICANT_PARTS: u32 = 32;

/// An endpoint whose rate is within so many percent of the pool's typical one is taken to have just that: most pools are of one kind,
/// and to tell endpoints apart by the noise of their estimates costs more than it gains.
const TYPICAL_PERCENT: u32 = 25;

/// What the pool's owner remembers of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointAssessor {
    pub(crate) unbooked_requests: UnbookedLoad,
    pub(crate) adapters: AdapterUsage,
    estimate: RateEstimator,
    breaker: CircuitBreaker,
    fresh_since_ms: Option<u64>,
}

impl EndpointAssessor {
    /// An endpoint that is taken to be as fast as `prior` until it shows otherwise.
    pub(crate) fn new(prior: Rates) -> Self {
        Self {
            unbooked_requests: UnbookedLoad::default(),
            adapters: AdapterUsage::default(),
            estimate: RateEstimator::new(prior),
            breaker: CircuitBreaker::default(),
            fresh_since_ms: None,
        }
    }

    /// What an owner before made of `member`.
    pub(crate) fn inherited(member: &EndpointState, now_ms: u64) -> Self {
        let Assessment { rates, circuit, ramp_percent } = member.assessment;
        let left_ms = RAMP_MS * u64::from(ramp_percent) / 100;
        let was_read = ramp_percent < 100;
        Self {
            unbooked_requests: UnbookedLoad::inherited(member.observed.unbooked_requests),
            adapters: member.adapters.as_deref().map(AdapterUsage::inherited).unwrap_or_default(),
            estimate: RateEstimator::new(rates),
            breaker: CircuitBreaker::inherited(circuit, now_ms),
            fresh_since_ms: was_read.then(|| now_ms.saturating_sub(RAMP_MS - left_ms)),
        }
    }

    /// It could be read.
    pub(crate) fn read(&mut self, now_ms: u64) {
        self.fresh_since_ms.get_or_insert(now_ms);
    }

    /// It was started anew. It runs on the same machine, so its rates stay.
    pub(crate) fn restarted(&mut self) {
        self.unbooked_requests = UnbookedLoad::default();
        self.adapters.forget();
        self.breaker = CircuitBreaker::default();
        self.fresh_since_ms = None;
    }

    /// It told how fast it decodes.
    pub(crate) fn decode(&mut self, decode: DecodeObservation) {
        self.estimate.decode(decode);
    }

    /// A request there was answered, or not; `running` others ran beside it.
    pub(crate) fn answered(&mut self, now_ms: u64, answered: ResponseOutcome, running: u32) {
        match answered {
            ResponseOutcome::Failed => self.breaker.failed(now_ms),
            ResponseOutcome::FirstOutput { work_tokens, elapsed_us } => {
                self.breaker.succeeded();
                self.estimate.first_chunk(work_tokens, elapsed_us, running);
            }
        }
    }

    /// Whether it can be trusted now.
    pub(crate) fn circuit(&mut self, now_ms: u64) -> Circuit {
        self.breaker.circuit(now_ms)
    }

    /// What is learnt of its rates, as it is.
    pub(crate) fn learnt(&self) -> Rates {
        self.estimate.rates()
    }

    /// What is to be made of it now, in a pool whose endpoints typically have the rates `typical`; `None` when that is what it was.
    pub(crate) fn assess(&mut self, now_ms: u64, typical: Rates, before: Assessment) -> Option<Assessment> {
        let learnt = settled(self.estimate.rates(), typical);
        let rates = if is_significant(before.rates, learnt) { learnt } else { before.rates };
        let circuit = self.breaker.circuit(now_ms);
        let after = Assessment { rates, circuit, ramp_percent: self.ramp_percent(now_ms) };
        (after != before).then_some(after)
    }

    fn ramp_percent(&self, now_ms: u64) -> u8 {
        let Some(since_ms) = self.fresh_since_ms else { return 100 };
        let left_ms = RAMP_MS.saturating_sub(now_ms.saturating_sub(since_ms));
        (left_ms * 100 / RAMP_MS).next_multiple_of(RAMP_STEP_PERCENT) as u8
    }
}

/// `learnt`, but for what is as good as `typical`.
fn settled(learnt: Rates, typical: Rates) -> Rates {
    let settled = |learnt: u32, typical: u32| {
        let is_typical =
            u64::from(learnt.abs_diff(typical)) * 100 <= u64::from(typical) * u64::from(TYPICAL_PERCENT);
        if is_typical { typical } else { learnt }
    };
    Rates {
        prefill_tokens_per_second: settled(
            learnt.prefill_tokens_per_second,
            typical.prefill_tokens_per_second,
        ),
        decode_token_us: settled(learnt.decode_token_us, typical.decode_token_us),
        decode_interference_us: settled(learnt.decode_interference_us, typical.decode_interference_us),
    }
}

fn is_significant(before: Rates, after: Rates) -> bool {
    let moved = |before: u32, after: u32| before.abs_diff(after) > before / SIGNIFICANT_PARTS;
    moved(before.prefill_tokens_per_second, after.prefill_tokens_per_second)
        || moved(before.decode_token_us, after.decode_token_us)
        || moved(before.decode_interference_us, after.decode_interference_us)
}
