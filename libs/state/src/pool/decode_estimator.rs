//! Estimates how long an endpoint takes per output token.

use signalbox_types::Rates;

use crate::reports::DecodeObservation;

/// The factor by which an observation may deviate from the expected time; larger deviations are clamped.
const OUTLIER_FACTOR: f64 = 3.0;

/// The factor by which the weight of earlier windows decreases with each window of decoding: a window counts half after 34
/// more.
const WINDOW_DECAY: f64 = 0.98;

/// The weight of a window in which tokens took longer than expected. Prompts that are processed meanwhile only add time, so
/// the line runs near the shortest times: an expectile (Newey and Powell, 1987) of 0.09.
const SLOW_WINDOW_WEIGHT: f64 = 0.1;

/// The number of running requests at the second point that represents the initial estimate.
const PRIOR_RUNNING: f64 = 64.0;

/// The number of observed windows from which an estimate counts as measured.
const MEASURED_WINDOWS: u32 = 5;

/// Least squares of the time per token over the number of running requests: a straight line fitted to weighted
/// points by least squares. The two points of the initial estimate never fade, but follow the level of the observations.
/// So they keep the line defined, and its slope in proportion, while all observations have about the same number of
/// running requests.
#[derive(Clone, Debug)]
pub(crate) struct DecodeEstimator {
    prior: Sums,
    observed: Sums,
    /// The number of observed windows.
    windows: u32,
    /// Whether the prior was measured by an earlier owner.
    was_measured: bool,
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
    fn add(&mut self, weight: f64, x: f64, y: f64) {
        self.n += weight;
        self.x += weight * x;
        self.y += weight * y;
        self.xx += weight * x * x;
        self.xy += weight * x * y;
    }

    /// Returns the base and the slope of the line that fits best; `None` if all points are at the same place.
    fn line(&self) -> Option<(f64, f64)> {
        let variance = self.n * self.xx - self.x * self.x;
        let slope = (self.n * self.xy - self.x * self.y) / variance;
        (variance > 0.0).then(|| ((self.y - slope * self.x) / self.n, slope))
    }

    fn decay(&mut self) {
        for sum in [&mut self.n, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= WINDOW_DECAY;
        }
    }
}

impl DecodeEstimator {
    /// Starts with the decode rates of `prior`.
    pub(crate) fn new(prior: Rates) -> Self {
        let at = |running: f64| {
            f64::from(prior.decode_token_us) + running * f64::from(prior.decode_interference_us)
        };
        let mut sums = Sums::default();
        sums.add(1.0, 0.0, at(0.0));
        sums.add(1.0, PRIOR_RUNNING, at(PRIOR_RUNNING));
        Self { prior: sums, observed: Sums::default(), windows: 0, was_measured: false }
    }

    /// Continues with the decode rates that an earlier owner published. Those that differ from the default count
    /// as measured: without a measurement an endpoint keeps the default or has what is typical of measured ones.
    pub(crate) fn from_published(published: Rates) -> Self {
        let decode = |rates: Rates| (rates.decode_token_us, rates.decode_interference_us);
        Self { was_measured: decode(published) != decode(Rates::default()), ..Self::new(published) }
    }

    /// Records a window of decoding.
    pub(crate) fn record(&mut self, decode: DecodeObservation) {
        let (x, y) = (f64::from(decode.running_milli) / 1e3, f64::from(decode.inter_token_us));
        let expected = self.at(x).max(1.0);
        let weight = if y > expected { SLOW_WINDOW_WEIGHT } else { 1.0 };
        self.windows = self.windows.saturating_add(1);
        self.observed.decay();
        self.observed.add(weight, x, y.clamp(expected / OUTLIER_FACTOR, expected * OUTLIER_FACTOR));
    }

    /// Returns whether enough windows were observed, by this owner or an earlier one, to trust the estimate.
    pub(crate) fn is_measured(&self) -> bool {
        self.was_measured || self.windows >= MEASURED_WINDOWS
    }

    /// Returns the time per token in microseconds while `x` requests run.
    pub(crate) fn at(&self, x: f64) -> f64 {
        let (base, slope) = self.solve();
        base + slope * x
    }

    /// Returns the time per token of a request that runs alone and what each running request adds to it, in
    /// microseconds. Neither is negative.
    pub(crate) fn solve(&self) -> (f64, f64) {
        let (p, s) = (self.scaled_prior(), &self.observed);
        let (n, x, y) = (p.n + s.n, p.x + s.x, p.y + s.y);
        let variance = n * (p.xx + s.xx) - x * x;
        let slope = ((n * (p.xy + s.xy) - x * y) / variance).max(0.0);
        let base = (y - slope * x) / n;
        if base >= 0.0 { (base, slope) } else { (0.0, (p.xy + s.xy) / (p.xx + s.xx)) }
    }

    /// Returns the points of the initial estimate, as much slower or faster as the observations are.
    fn scaled_prior(&self) -> Sums {
        let (prior, observed) = (self.prior, &self.observed);
        let Some((base, slope)) = prior.line() else { return prior };
        let expected = base * observed.n + slope * observed.x;
        let level = if expected > 0.0 { observed.y / expected } else { 1.0 };
        // One window, above all a slow one, proves little.
        let factor = (1.0 + observed.n * level) / (1.0 + observed.n);
        Sums { y: prior.y * factor, xy: prior.xy * factor, ..prior }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_rates_are_learnt_from_windows() {
        let mut estimator = DecodeEstimator::new(Rates::default());
        for at in 0..100_u32 {
            let running = 5 + at * 7 % 40;
            estimator.record(DecodeObservation {
                inter_token_us: 20_000 + running * 1_000,
                running_milli: running * 1_000,
            });
        }
        let at_20 = estimator.at(20.0);
        assert!((36_000.0..=44_000.0).contains(&at_20), "{at_20}");
        assert!(estimator.is_measured());
    }

    #[test]
    fn prompts_that_are_processed_meanwhile_do_not_count_as_decoding() {
        let mut estimator = DecodeEstimator::new(Rates::default());
        for at in 0..200_u32 {
            let running = 5 + at * 7 % 40;
            let decoding_us = 20_000 + running * 1_000;
            // Half of the windows contain prompts, and more so while few requests run.
            let prompts_us = if at % 2 == 0 { 60_000 - running * 1_000 } else { 0 };
            let inter_token_us = decoding_us + prompts_us;
            estimator.record(DecodeObservation { inter_token_us, running_milli: running * 1_000 });
        }
        let (base, slope) = estimator.solve();
        assert!((18_000.0..=30_000.0).contains(&base), "{base}");
        assert!((600.0..=1_100.0).contains(&slope), "{slope}");
    }

    #[test]
    fn without_variety_the_slope_keeps_its_proportion_to_the_base() {
        let mut estimator = DecodeEstimator::new(Rates::default());
        let running = 10;
        let twice_as_slow = 2 * (6_000 + running * 350);
        for _ in 0..100 {
            let inter_token_us = twice_as_slow;
            estimator.record(DecodeObservation { inter_token_us, running_milli: running * 1_000 });
        }
        let (base, slope) = estimator.solve();
        assert!((11_500.0..=12_500.0).contains(&base) && (600.0..=750.0).contains(&slope), "{base} {slope}");
    }

    #[test]
    fn a_new_owner_does_not_take_prompts_for_slow_decoding() {
        let published = Rates { decode_token_us: 24_000, decode_interference_us: 2_000, ..Rates::default() };
        let mut estimator = DecodeEstimator::from_published(published);
        for _ in 0..3 {
            estimator.record(DecodeObservation { inter_token_us: 200_000, running_milli: 10_000 });
        }
        let (base, slope) = estimator.solve();
        // Only the slope is part of a cost.
        assert!(base < 2.6 * 24_000.0 && slope < 1.6 * 2_000.0, "{base} {slope}");
    }

    #[test]
    fn a_few_windows_are_no_measurement() {
        let mut estimator = DecodeEstimator::new(Rates::default());
        (0..3).for_each(|_| {
            estimator.record(DecodeObservation { inter_token_us: 1_000, running_milli: 1_000 });
        });
        assert!(!estimator.is_measured());
    }

    #[test]
    fn published_rates_other_than_the_default_were_measured() {
        let measured = Rates { decode_token_us: 5_000, ..Rates::default() };
        assert!(DecodeEstimator::from_published(measured).is_measured());
        let unmeasured = Rates { prefill_tokens_per_second: 77, ..Rates::default() };
        assert!(!DecodeEstimator::from_published(unmeasured).is_measured());
        assert!(!DecodeEstimator::new(measured).is_measured(), "the rates of other endpoints");
    }
}
