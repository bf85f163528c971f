//! How fast an endpoint is, by what came of the requests there. Estimates forget, and no single observation moves them far.

use signalbox_types::Rates;

/// First chunks of requests with less work than this say more about the network than about the prefill rate.
const LEAST_WORK_TOKENS: u64 = 512;

/// The first estimate counts as much as an observation of so many tokens.
const PRIOR_TOKENS: f64 = 8_192.0;

/// After so many tokens an observation counts half.
const HALF_LIFE_TOKENS: f64 = 65_536.0;

/// An observation counts at most so many times slower or faster than what was expected.
const OUTLIER: f64 = 3.0;

/// Of a window of decoding, the next one counts so much less.
const FORGETTING: f64 = 0.9;

/// Number of running requests of the second point that stands for the first estimate of decoding.
const PRIOR_RUNNING: f64 = 64.0;

/// How fast an endpoint decoded in a window of its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeObservation {
    /// Mean time between two tokens of an answer, in microseconds.
    pub inter_token_us: u32,
    /// Mean number of requests that ran, in thousandths.
    pub running_milli: u32,
}

/// Learns [`Rates`].
///
/// - prefill: Σ uncached tokens ÷ Σ time over first chunks of requests that had the endpoint's prefill to themselves; from the time
///   goes what a pass takes anyway
/// - decode: least squares of the time per token over the number of running requests
#[derive(Clone, Debug)]
pub(crate) struct RateEstimator {
    prefill_tokens: f64,
    prefill_us: f64,
    decode: Line,
}

impl RateEstimator {
    /// Begins with `prior`, which the first observations outweigh.
    pub(crate) fn new(prior: Rates) -> Self {
        let per_us = f64::from(prior.prefill_tokens_per_second.max(1)) / 1e6;
        Self { prefill_tokens: PRIOR_TOKENS, prefill_us: PRIOR_TOKENS / per_us, decode: Line::new(prior) }
    }

    /// A first chunk came `took_us` after its request was sent with `work_tokens` of uncached prompt to an endpoint where `running`
    /// requests ran.
    pub(crate) fn first_chunk(&mut self, work_tokens: u64, elapsed_us: u64, running: u32) {
        if work_tokens < LEAST_WORK_TOKENS {
            return;
        }
        let (work, took) = (work_tokens as f64, elapsed_us as f64);
        let pass_us = self.decode.at(f64::from(running)).min(took / 2.0);
        let expected_us = work * self.prefill_us / self.prefill_tokens;
        let counted_us = (took - pass_us).clamp(expected_us / OUTLIER, expected_us * OUTLIER);
        let kept = 0.5_f64.powf(work / HALF_LIFE_TOKENS);
        self.prefill_tokens = self.prefill_tokens * kept + work;
        self.prefill_us = self.prefill_us * kept + counted_us;
    }

    /// A window of decoding.
    pub(crate) fn decode(&mut self, decode: DecodeObservation) {
        self.decode.observe(f64::from(decode.running_milli) / 1e3, f64::from(decode.inter_token_us));
    }

    /// What is learnt so far.
    pub(crate) fn rates(&self) -> Rates {
        let (base_us, slope_us) = self.decode.solve();
        Rates {
            prefill_tokens_per_second: (self.prefill_tokens / self.prefill_us * 1e6).round().max(1.0) as u32,
            decode_token_us: base_us.round() as u32,
            decode_interference_us: slope_us.round() as u32,
        }
    }
}

/// A straight line through weighted points, by least squares. Two points of the first estimate never fade, so that it is defined
/// and stays reasonable while all observations have the same number of running requests.
#[derive(Clone, Debug)]
struct Line {
    prior: Sums,
    seen: Sums,
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

    fn fade(&mut self) {
        for sum in [&mut self.n, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= FORGETTING;
        }
    }
}

impl Line {
    fn new(prior: Rates) -> Self {
        let at = |running: f64| {
            f64::from(prior.decode_token_us) + running * f64::from(prior.decode_interference_us)
        };
        let mut sums = Sums::default();
        sums.add(0.0, at(0.0));
        sums.add(PRIOR_RUNNING, at(PRIOR_RUNNING));
        Self { prior: sums, seen: Sums::default() }
    }

    fn observe(&mut self, x: f64, y: f64) {
        let expected = self.at(x).max(1.0);
        self.seen.fade();
        self.seen.add(x, y.clamp(expected / OUTLIER, expected * OUTLIER));
    }

    fn at(&self, x: f64) -> f64 {
        let (base, slope) = self.solve();
        base + slope * x
    }

    /// Intercept and slope, neither below zero.
    fn solve(&self) -> (f64, f64) {
        let (p, s) = (&self.prior, &self.seen);
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

    fn learn(rate: u32, noise: impl Fn(usize) -> f64) -> u32 {
        let mut estimate = RateEstimator::new(Rates::default());
        for at in 0..60 {
            let work = 1_000 + (at as u64 * 397) % 7_000;
            let elapsed_us = work as f64 / f64::from(rate) * 1e6 * noise(at) + 6_000.0;
            estimate.first_chunk(work, elapsed_us as u64, 0);
        }
        estimate.rates().prefill_tokens_per_second
    }

    #[test]
    fn a_prefill_rate_is_learnt_whatever_the_prior() {
        for rate in [500, 2_000, 4_000, 8_000, 30_000] {
            let learnt = learn(rate, |_| 1.0);
            assert!(near(rate, learnt, 5), "{rate}: {learnt}");
        }
    }

    #[test]
    fn one_in_ten_being_a_hundred_times_slower_moves_it_by_less_than_a_quarter() {
        let learnt = learn(4_000, |at| if at % 10 == 3 { 100.0 } else { 1.0 });
        assert!(near(4_000, learnt, 25), "{learnt}");
    }

    #[test]
    fn short_work_says_nothing() {
        let mut estimate = RateEstimator::new(Rates::default());
        (0..100).for_each(|_| estimate.first_chunk(100, 5_000_000, 0));
        assert_eq!(Rates::default(), estimate.rates());
    }

    #[test]
    fn decode_rates_are_learnt_from_windows() {
        let mut estimate = RateEstimator::new(Rates::default());
        for at in 0..100_u32 {
            let running = 5 + at * 7 % 40;
            estimate.decode(DecodeObservation {
                inter_token_us: 20_000 + running * 1_000,
                running_milli: running * 1_000,
            });
        }
        let Rates { decode_token_us, decode_interference_us, .. } = estimate.rates();
        let at_20 = decode_token_us + 20 * decode_interference_us;
        assert!(near(40_000, at_20, 10), "{decode_token_us} + 20 × {decode_interference_us}");
    }

    proptest! {
        #[test]
        fn any_observations_give_usable_rates(
            chunks in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..30),
            windows in proptest::collection::vec(any::<(u32, u32)>(), 0..30),
        ) {
            let mut estimate = RateEstimator::new(Rates::default());
            for (work_tokens, elapsed_us, running) in chunks {
                estimate.first_chunk(work_tokens, elapsed_us, running);
            }
            for (inter_token_us, running_milli) in windows {
                estimate.decode(DecodeObservation { inter_token_us, running_milli });
            }
            let first = estimate.rates();
            prop_assert!(first.prefill_tokens_per_second >= 1);
            prop_assert_eq!(first, estimate.rates());
        }
    }
}
