//! Estimates how fast an endpoint processes prompts.

use signalbox_types::Rates;

/// The minimum number of uncached tokens for an observation. The time to the first output of smaller prompts
/// depends more on the network than on the prefill rate.
const MIN_WORK_TOKENS: u64 = 512;

/// The weight of the initial estimate, in tokens.
const PRIOR_TOKENS: f64 = 8_192.0;

/// The weight of observations, in tokens, from which on the rate counts as measured: half that of the initial estimate.
const MEASURED_TOKENS: f64 = PRIOR_TOKENS / 2.0;

/// The half-life of an observation, in tokens processed since.
const HALF_LIFE_TOKENS: f64 = 65_536.0;

/// The weight of an observation whose work the engine did not report, as a fraction of the others'. Predicted
/// work is wrong wherever the engine's cache differs from the index.
const ESTIMATE_WEIGHT: f64 = 1.0 / 8.0;

/// The factor by which an observation may deviate from the expected time; larger deviations are clamped.
const OUTLIER_FACTOR: f64 = 3.0;

/// The factor by which an endpoint's rate may leave the range that is plausible in its pool before its
/// observations agree.
const FREE_FACTOR: f64 = 2.0;

/// The number of agreeing observations in a row that double [`FREE_FACTOR`]. Four in a row within a quarter of
/// each other are rarely chance: errors, caches and other traffic scatter by much more.
const AGREEING_PER_DOUBLING: u32 = 4;

/// The maximum number of doublings: from 8,000 tokens per second to 31 or to 2 million.
const MAX_DOUBLINGS: u32 = 7;

/// The ratio of the fastest to the slowest of observations that agree: each is within 25 % of a value between
/// them.
const AGREEING_RATIO: f64 = 1.25 / 0.75;

/// The uncached prompt tokens that an endpoint processed until its first output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PromptWork {
    /// The engine reported them.
    Reported(u64),
    /// The replica predicted them.
    Predicted(u64),
}

/// A range of prefill rates, in tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RateRange {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl RateRange {
    /// Returns the range of one rate.
    pub(crate) fn of(rate: u32) -> Self {
        Self { low: f64::from(rate.max(1)), high: f64::from(rate.max(1)) }
    }

    /// Returns the smallest range that contains both.
    pub(crate) fn hull(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    fn widened(self, factor: f64) -> Self {
        Self { low: self.low / factor, high: self.high * factor }
    }

    fn clamp(self, rate: f64) -> f64 {
        rate.clamp(self.low, self.high)
    }
}

/// What an endpoint's pool shows of prefill rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PoolRanges {
    /// The rates that are plausible without further evidence: between the prior of the engine kind and the
    /// pool's median.
    pub(crate) plausible: RateRange,
    /// The rates that endpoints of the same engine kind show by reported work, and the prior.
    pub(crate) shown: RateRange,
}

/// Estimates a prefill rate: Σ uncached tokens ÷ Σ time, over the first outputs of requests whose prompt was
/// the only one being processed. Older observations lose weight.
///
/// No single observation counts for more than all before it, however long its prompt is.
#[derive(Clone, Debug)]
pub(crate) struct PrefillEstimator {
    /// The weight of what is known, in tokens.
    tokens: f64,
    us: f64,
    initial: RateRange,
    agreement: Agreement,
    has_reports: bool,
    /// The weight of all observations.
    observed_tokens: f64,
}

impl PrefillEstimator {
    /// Starts with a rate in tokens per second.
    pub(crate) fn new(tokens_per_second: u32) -> Self {
        let initial = RateRange::of(tokens_per_second);
        Self {
            tokens: PRIOR_TOKENS,
            us: PRIOR_TOKENS / initial.low * 1e6,
            initial,
            agreement: Agreement::default(),
            has_reports: false,
            observed_tokens: 0.0,
        }
    }

    /// Continues with a rate that an earlier owner published. One that is not the default counts as measured: that owner has
    /// measured it here, or at other endpoints of the pool before this one had served enough.
    pub(crate) fn from_published(tokens_per_second: u32) -> Self {
        let is_measured = tokens_per_second != Rates::default().prefill_tokens_per_second;
        let observed_tokens = if is_measured { MEASURED_TOKENS } else { 0.0 };
        Self { observed_tokens, ..Self::new(tokens_per_second) }
    }

    /// Returns whether enough was observed, by this owner or an earlier one, to trust the rate.
    pub(crate) fn is_measured(&self) -> bool {
        self.observed_tokens >= MEASURED_TOKENS
    }

    /// Returns whether a response has told the rate, to this owner or to an earlier one, of this endpoint or of another one of
    /// the pool.
    pub(crate) fn is_known(&self) -> bool {
        self.has_reports || self.initial != RateRange::of(Rates::default().prefill_tokens_per_second)
    }

    /// Returns whether work that the engine reported contributed to the rate.
    pub(crate) fn has_reports(&self) -> bool {
        self.has_reports
    }

    /// Records that an endpoint needed `took_us` for `work`.
    pub(crate) fn record(&mut self, work: PromptWork, took_us: f64, pool: PoolRanges) {
        let (tokens, weight) = match work {
            PromptWork::Reported(tokens) => (tokens, 1.0),
            PromptWork::Predicted(tokens) => (tokens, ESTIMATE_WEIGHT),
        };
        if tokens < MIN_WORK_TOKENS {
            return;
        }
        let observed = tokens as f64 / took_us.max(1.0) * 1e6;
        let range = match work {
            PromptWork::Reported(_) => {
                self.has_reports = true;
                self.agreement.record(observed);
                self.allowed(pool)
            }
            PromptWork::Predicted(_) => pool.shown,
        };
        let expected = self.tokens / self.us * 1e6;
        let counted = range.clamp(observed.clamp(expected / OUTLIER_FACTOR, expected * OUTLIER_FACTOR));
        let wanted = (tokens as f64 * weight).min(self.tokens);
        let kept = self.tokens * 0.5_f64.powf(wanted / HALF_LIFE_TOKENS);
        let added = wanted.min(kept);
        self.us = self.us * kept / self.tokens + added / counted * 1e6;
        self.tokens = kept + added;
        self.observed_tokens += added;
    }

    /// Returns the rate in tokens per second.
    pub(crate) fn rate(&self, pool: PoolRanges) -> u32 {
        self.allowed(pool).clamp(self.tokens / self.us * 1e6).round().max(1.0) as u32
    }

    /// Returns the rates that the endpoint may have.
    fn allowed(&self, pool: PoolRanges) -> RateRange {
        pool.plausible.hull(self.initial).widened(FREE_FACTOR * self.agreement.factor())
    }
}

/// How many observations in a row agreed.
#[derive(Clone, Copy, Debug, Default)]
struct Agreement {
    /// The slowest and the fastest of the current row.
    low: f64,
    high: f64,
    row: u32,
    longest: u32,
}

impl Agreement {
    fn record(&mut self, observed: f64) {
        let (low, high) = (self.low.min(observed), self.high.max(observed));
        *self = if self.row > 0 && high <= low * AGREEING_RATIO {
            Self { low, high, row: self.row.saturating_add(1), longest: self.longest }
        } else {
            Self { low: observed, high: observed, row: 1, longest: self.longest }
        };
        self.longest = self.longest.max(self.row);
    }

    fn factor(self) -> f64 {
        f64::from(1_u32 << (self.longest / AGREEING_PER_DOUBLING).min(MAX_DOUBLINGS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRIOR: u32 = 8_000;

    fn pool() -> PoolRanges {
        PoolRanges { plausible: RateRange::of(PRIOR), shown: RateRange::of(PRIOR) }
    }

    fn near(expected: u32, found: u32, percent: u32) -> bool {
        found.abs_diff(expected) * 100 <= expected * percent
    }

    fn learnt(rate: u32, noise: impl Fn(usize) -> f64) -> u32 {
        let mut estimator = PrefillEstimator::new(PRIOR);
        for at in 0..60 {
            let work = 1_000 + (at as u64 * 397) % 7_000;
            let took_us = work as f64 / f64::from(rate) * 1e6 * noise(at);
            estimator.record(PromptWork::Reported(work), took_us, pool());
        }
        estimator.rate(pool())
    }

    #[test]
    fn a_prefill_rate_is_learnt_whatever_the_prior() {
        for rate in [500, 2_000, 4_000, 8_000, 30_000] {
            let learnt = learnt(rate, |_| 1.0);
            assert!(near(rate, learnt, 5), "{rate}: {learnt}");
        }
    }

    #[test]
    fn rate_is_measured_after_enough_prompts_or_if_another_owner_has_measured_it() {
        let mut estimator = PrefillEstimator::new(PRIOR);
        let mut count = 0;
        while !estimator.is_measured() {
            estimator.record(PromptWork::Reported(1_000), 125_000.0, pool());
            count += 1;
        }
        assert_eq!(5, count);
        let is_measured = |rate| PrefillEstimator::from_published(rate).is_measured();
        assert!(is_measured(9_000) && !is_measured(Rates::default().prefill_tokens_per_second));
        assert!(!PrefillEstimator::new(9_000).is_measured(), "the rate of other endpoints");
    }

    #[test]
    fn one_in_ten_being_a_hundred_times_slower_moves_it_by_less_than_a_quarter() {
        let learnt = learnt(4_000, |at| if at % 10 == 3 { 100.0 } else { 1.0 });
        assert!(near(4_000, learnt, 25), "{learnt}");
    }

    #[test]
    fn short_work_says_nothing() {
        let mut estimator = PrefillEstimator::new(PRIOR);
        (0..100).for_each(|_| estimator.record(PromptWork::Reported(100), 5e6, pool()));
        assert_eq!(PRIOR, estimator.rate(pool()));
    }

    #[test]
    fn one_observation_counts_no_more_than_all_before_however_long_the_prompt() {
        for tokens in [4_000, 200_000, 10_000_000] {
            let mut estimator = PrefillEstimator::new(PRIOR);
            estimator.record(PromptWork::Reported(tokens), tokens as f64 / 16_000.0 * 1e6, pool());
            // Half of the weight at twice the rate: the harmonic mean of 8,000 and 16,000.
            let rate = estimator.rate(pool());
            assert!(rate <= 10_667, "{tokens}: {rate}");
        }
    }

    #[test]
    fn predicted_work_cannot_leave_what_others_show() {
        let mut estimator = PrefillEstimator::new(PRIOR);
        (0..200).for_each(|_| estimator.record(PromptWork::Predicted(100_000), 1.0, pool()));
        assert_eq!(PRIOR, estimator.rate(pool()));
        let shown = RateRange::of(PRIOR).hull(RateRange::of(12_000));
        let pool = PoolRanges { shown, ..pool() };
        (0..200).for_each(|_| estimator.record(PromptWork::Predicted(100_000), 1.0, pool));
        assert!(near(12_000, estimator.rate(pool), 1), "{}", estimator.rate(pool));
    }

    #[test]
    fn predicted_work_has_an_eighth_of_the_weight() {
        let shown = RateRange { low: 1_000.0, high: 100_000.0 };
        let pool = PoolRanges { shown, ..pool() };
        let after = |work| {
            let mut estimator = PrefillEstimator::new(PRIOR);
            estimator.record(work, 1_000.0 / 12_000.0 * 1e6, pool);
            estimator.rate(pool)
        };
        let (reported, predicted) = (after(PromptWork::Reported(1_000)), after(PromptWork::Predicted(1_000)));
        assert!((7..=9).contains(&((reported - PRIOR) / (predicted - PRIOR))), "{reported} {predicted}");
    }

    #[test]
    fn a_rate_stays_within_twice_the_plausible_until_four_observations_agree() {
        let mut estimator = PrefillEstimator::new(PRIOR);
        for at in 0..100_u64 {
            let factor = if at % 2 == 0 { 10.0 } else { 1_000.0 };
            estimator.record(PromptWork::Reported(50_000), 50_000.0 / 8_000.0 * 1e6 / factor, pool());
        }
        assert_eq!(2 * PRIOR, estimator.rate(pool()));
        (0..40)
            .for_each(|_| estimator.record(PromptWork::Reported(50_000), 50_000.0 / 30_000.0 * 1e6, pool()));
        assert!(near(30_000, estimator.rate(pool()), 5), "{}", estimator.rate(pool()));
    }

    proptest! {
        #[test]
        fn any_observations_give_a_usable_rate(
            observations in proptest::collection::vec((any::<u64>(), any::<u32>(), any::<bool>()), 0..60),
        ) {
            let mut estimator = PrefillEstimator::new(PRIOR);
            for (tokens, took_us, is_reported) in observations {
                let work = if is_reported { PromptWork::Reported(tokens) } else { PromptWork::Predicted(tokens) };
                estimator.record(work, f64::from(took_us), pool());
                prop_assert!(estimator.rate(pool()) >= 1);
                prop_assert!(estimator.tokens >= PRIOR_TOKENS / 2.0);
            }
        }
    }
}
