//! Estimates how fast an endpoint is. Old observations fade, and no single observation has much influence.

use signalbox_types::Rates;

use super::decode_estimator::DecodeEstimator;
use super::prefill_estimator::{PoolRanges, PrefillEstimator, PromptWork};
use crate::reports::DecodeObservation;

/// Estimates [`Rates`].
///
/// - prefill: from the time to the first output of requests whose prompt was the only one being processed, less
///   the time of a regular forward pass
/// - decode: from windows of the engine's counters
#[derive(Clone, Debug)]
pub(crate) struct RateEstimator {
    prefill: PrefillEstimator,
    decode: DecodeEstimator,
}

impl RateEstimator {
    /// Starts with `prior`, which soon has little weight compared to observations.
    pub(crate) fn new(prior: Rates) -> Self {
        Self {
            prefill: PrefillEstimator::new(prior.prefill_tokens_per_second),
            decode: DecodeEstimator::new(prior),
        }
    }

    /// Continues with the rates that an earlier owner published.
    pub(crate) fn from_published(published: Rates) -> Self {
        Self {
            prefill: PrefillEstimator::from_published(published.prefill_tokens_per_second),
            decode: DecodeEstimator::from_published(published),
        }
    }

    /// Records that the first output arrived `elapsed_us` after a request with this work was sent to an endpoint
    /// with `running` running requests.
    pub(crate) fn record_first_output(
        &mut self,
        work: PromptWork,
        elapsed_us: u64,
        running: u32,
        pool: PoolRanges,
    ) {
        let took_us = elapsed_us as f64;
        let pass_us = self.decode.at(f64::from(running)).min(took_us / 2.0);
        self.prefill.record(work, took_us - pass_us, pool);
    }

    /// Records a window of decoding.
    pub(crate) fn record_decode(&mut self, decode: DecodeObservation) {
        self.decode.record(decode);
    }

    /// Returns whether a response has told the prefill rate, to this owner or an earlier one.
    pub(crate) fn knows_prefill(&self) -> bool {
        self.prefill.is_known()
    }

    /// Returns whether work that the engine reported contributed to the prefill rate.
    pub(crate) fn has_reported_work(&self) -> bool {
        self.prefill.has_reports()
    }

    /// Returns whether the prefill rate is measured.
    pub(crate) fn has_measured_prefill(&self) -> bool {
        self.prefill.is_measured()
    }

    /// Returns whether the decode rates are measured.
    pub(crate) fn has_measured_decode(&self) -> bool {
        self.decode.is_measured()
    }

    /// Returns the current estimate.
    pub(crate) fn rates(&self, pool: PoolRanges) -> Rates {
        let (base_us, slope_us) = self.decode.solve();
        Rates {
            prefill_tokens_per_second: self.prefill.rate(pool),
            decode_token_us: base_us.round() as u32,
            decode_interference_us: slope_us.round() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pool::prefill_estimator::RateRange;

    proptest! {
        #[test]
        fn any_observations_give_usable_rates(
            outputs in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..30),
            windows in proptest::collection::vec(any::<(u32, u32)>(), 0..30),
        ) {
            let prior = RateRange::of(Rates::default().prefill_tokens_per_second);
            let pool = PoolRanges { plausible: prior, shown: prior };
            let mut estimator = RateEstimator::new(Rates::default());
            for (work_tokens, elapsed_us, running) in outputs {
                estimator.record_first_output(PromptWork::Reported(work_tokens), elapsed_us, running, pool);
            }
            for (inter_token_us, running_milli) in windows {
                estimator.record_decode(DecodeObservation { inter_token_us, running_milli });
            }
            let first = estimator.rates(pool);
            prop_assert!(first.prefill_tokens_per_second >= 1);
            prop_assert_eq!(first, estimator.rates(pool));
        }
    }
}
