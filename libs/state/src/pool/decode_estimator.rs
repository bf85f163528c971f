//! Estimates how long an endpoint takes per output token.

use signalbox_types::Rates;

use crate::reports::DecodeObservation;

/// The factor by which an observation may deviate from the expected time; larger deviations are clamped.
const OUTLIER_FACTOR: f64 = 3.0;

/// The factor by which the weight of earlier windows decreases with each window of decoding.
const WINDOW_DECAY: f64 = 0.9;

/// The number of running requests at the second point that represents the initial estimate.
const PRIOR_RUNNING: f64 = 64.0;

/// The weight of observed windows from which an estimate counts as measured: about five windows.
const MEASURED_WEIGHT: f64 = 4.0;

/// Least squares of the time per token over the number of running requests: a straight line fitted to weighted
/// points by least squares. The two points of the initial estimate never
/// fade. They keep the line defined and reasonable while all observations have the same number of running
/// requests.
#[derive(Clone, Debug)]
pub(crate) struct DecodeEstimator {
    prior: Sums,
    observed: Sums,
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

impl DecodeEstimator {
    /// Starts with the decode rates of `prior`.
    pub(crate) fn new(prior: Rates) -> Self {
        let at = |running: f64| {
            f64::from(prior.decode_token_us) + running * f64::from(prior.decode_interference_us)
        };
        let mut sums = Sums::default();
        sums.add(0.0, at(0.0));
        sums.add(PRIOR_RUNNING, at(PRIOR_RUNNING));
        Self { prior: sums, observed: Sums::default(), was_measured: false }
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
        self.observed.decay();
        self.observed.add(x, y.clamp(expected / OUTLIER_FACTOR, expected * OUTLIER_FACTOR));
    }

    /// Returns whether enough windows were observed, by this owner or an earlier one, to trust the estimate.
    pub(crate) fn is_measured(&self) -> bool {
        self.was_measured || self.observed.n >= MEASURED_WEIGHT
    }

    /// Returns the time per token in microseconds while `x` requests run.
    pub(crate) fn at(&self, x: f64) -> f64 {
        let (base, slope) = self.solve();
        base + slope * x
    }

    /// Returns the time per token of a request that runs alone and what each running request adds to it, in
    /// microseconds. Neither is negative.
    pub(crate) fn solve(&self) -> (f64, f64) {
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
