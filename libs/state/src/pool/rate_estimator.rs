//! Estimates how fast an endpoint is from the outcomes of its requests. Old observations fade, and no single
//! observation has much influence.

use signalbox_types::Rates;

use crate::reports::DecodeObservation;

/// The minimum number of uncached tokens for an observation. The time to the first chunk of smaller prompts
/// depends more on the network than on the prefill rate.
const MIN_WORK_TOKENS: u64 = 512;

/// The weight of the initial estimate, in tokens.
const PRIOR_TOKENS: f64 = 8_192.0;

/// The half-life of an observation, in tokens processed since.
const HALF_LIFE_TOKENS: f64 = 65_536.0;

/// The factor by which an observation may deviate from the expected time; larger deviations are clamped.
const OUTLIER_FACTOR: f64 = 3.0;

/// The factor by which the weight of earlier windows decreases with each window of decoding.
const WINDOW_DECAY: f64 = 0.9;

/// The number of running requests at the second point that represents the initial estimate of the decode
/// rate.
const PRIOR_RUNNING: f64 = 64.0;

/// Estimates [`Rates`].
///
/// - prefill: Σ uncached tokens ÷ Σ time, over the first chunks of requests whose prompt was the only one
///   being processed. The time of a regular forward pass is subtracted.
/// - decode: least squares of the time per token over the number of running requests
#[derive(Clone, Debug)]
pub(crate) struct RateEstimator {
    prefill_tokens: f64,
    prefill_us: f64,
    decode: LinearFit,
}

impl RateEstimator {
    /// Starts with `prior`, which soon has little weight compared to observations.
    pub(crate) fn new(prior: Rates) -> Self {
        let per_us = f64::from(prior.prefill_tokens_per_second.max(1)) / 1e6;
        Self {
            prefill_tokens: PRIOR_TOKENS,
            prefill_us: PRIOR_TOKENS / per_us,
            decode: LinearFit::new(prior),
        }
    }

    /// Records that the first chunk arrived `elapsed_us` after a request with `work_tokens` uncached prompt
    /// tokens was sent to an endpoint with `running` running requests.
    pub(crate) fn record_first_output(&mut self, work_tokens: u64, elapsed_us: u64, running: u32) {
        if work_tokens < MIN_WORK_TOKENS {
            return;
        }
        let (work, took) = (work_tokens as f64, elapsed_us as f64);
        let pass_us = self.decode.at(f64::from(running)).min(took / 2.0);
        let expected_us = work * self.prefill_us / self.prefill_tokens;
        let counted_us = (took - pass_us).clamp(expected_us / OUTLIER_FACTOR, expected_us * OUTLIER_FACTOR);
        let kept = 0.5_f64.powf(work / HALF_LIFE_TOKENS);
        self.prefill_tokens = self.prefill_tokens * kept + work;
        self.prefill_us = self.prefill_us * kept + counted_us;
    }

    /// Records a window of decoding.
    pub(crate) fn record_decode(&mut self, decode: DecodeObservation) {
        self.decode.observe(f64::from(decode.running_milli) / 1e3, f64::from(decode.inter_token_us));
    }

    /// Returns the current estimate.
    pub(crate) fn rates(&self) -> Rates {
        let (base_us, slope_us) = self.decode.solve();
        Rates {
            prefill_tokens_per_second: (self.prefill_tokens / self.prefill_us * 1e6).round().max(1.0) as u32,
            decode_token_us: base_us.round() as u32,
            decode_interference_us: slope_us.round() as u32,
        }
    }
}

/// A straight line fitted to weighted points by least squares. The two points of the initial estimate never
/// fade. They keep the line defined and reasonable while all observations have the same number of running
/// requests.
#[derive(Clone, Debug)]
struct LinearFit {
    prior: Sums,
    observed: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    fn decay(&mut self) {
        for sum in [&mut self.n, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= WINDOW_DECAY;
        }
    }
}

impl LinearFit {
    fn new(prior: Rates) -> Self {
        let at = |running: f64| {
            f64::from(prior.decode_token_us) + running * f64::from(prior.decode_interference_us)
        };
        let mut sums = Sums::default();
        sums.add(0.0, at(0.0));
        sums.add(PRIOR_RUNNING, at(PRIOR_RUNNING));
        Self { prior: sums, observed: Sums::default() }
    }

    fn observe(&mut self, x: f64, y: f64) {
        let expected = self.at(x).max(1.0);
        self.observed.decay();
        self.observed.add(x, y.clamp(expected / OUTLIER_FACTOR, expected * OUTLIER_FACTOR));
    }

    fn at(&self, x: f64) -> f64 {
        let (base, slope) = self.solve();
        base + slope * x
    }

    /// Returns the intercept and the slope, neither negative.
    fn solve(&self) -> (f64, f64) {
        let (p, s) = (&self.prior, &self.observed);
        let (n, x, y) = (p.n + s.n, p.x + s.x, p.y + s.y);
        let variance = n * (p.xx + s.xx) - x * x;
        let slope = ((n * (p.xy + s.xy) - x * y) / variance).max(0.0);
        let base = (y - slope * x) / n;
        if base >= 0.0 { (base, slope) } else { (0.0, (p.xy + s.xy) / (p.xx + s.xx)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(expected: u32, found: u32, percent: u32) -> bool {
        found.abs_diff(expected) * 100 <= expected * percent
    }

    fn estimated_rate(rate: u32, noise: impl Fn(usize) -> f64) -> u32 {
        let mut estimator = RateEstimator::new(Rates::default());
        for at in 0..60 {
            let work = 1_000 + (at as u64 * 397) % 7_000;
            let elapsed_us = work as f64 / f64::from(rate) * 1e6 * noise(at) + 6_000.0;
            estimator.record_first_output(work, elapsed_us as u64, 0);
        }
        estimator.rates().prefill_tokens_per_second
    }

    #[test]
    fn prefill_rate_is_estimated_regardless_of_the_prior() {
        for rate in [500, 2_000, 4_000, 8_000, 30_000] {
            let estimated = estimated_rate(rate, |_| 1.0);
            assert!(near(rate, estimated, 5), "{rate}: {estimated}");
        }
    }

    #[test]
    fn outliers_move_the_estimate_by_less_than_a_quarter() {
        let estimated = estimated_rate(4_000, |at| if at % 10 == 3 { 100.0 } else { 1.0 });
        assert!(near(4_000, estimated, 25), "{estimated}");
    }

    #[test]
    fn short_prompts_do_not_change_the_estimate() {
        let mut estimator = RateEstimator::new(Rates::default());
        (0..100).for_each(|_| estimator.record_first_output(100, 5_000_000, 0));
        assert_eq!(Rates::default(), estimator.rates());
    }

    #[test]
    fn decode_rates_are_estimated_from_windows() {
        let mut estimator = RateEstimator::new(Rates::default());
        for at in 0..100_u32 {
            let running = 5 + at * 7 % 40;
            estimator.record_decode(DecodeObservation {
                inter_token_us: 20_000 + running * 1_000,
                running_milli: running * 1_000,
            });
        }
        let Rates { decode_token_us, decode_interference_us, .. } = estimator.rates();
        let at_20 = decode_token_us + 20 * decode_interference_us;
        assert!(near(40_000, at_20, 10), "{decode_token_us} + 20 × {decode_interference_us}");
    }

    proptest! {
        #[test]
        fn rates_are_usable_after_any_observations(
            chunks in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..30),
            windows in proptest::collection::vec(any::<(u32, u32)>(), 0..30),
        ) {
            let mut estimator = RateEstimator::new(Rates::default());
            for (work_tokens, elapsed_us, running) in chunks {
                estimator.record_first_output(work_tokens, elapsed_us, running);
            }
            for (inter_token_us, running_milli) in windows {
                estimator.record_decode(DecodeObservation { inter_token_us, running_milli });
            }
            let first = estimator.rates();
            prop_assert!(first.prefill_tokens_per_second >= 1);
            prop_assert_eq!(first, estimator.rates());
        }
    }
}
