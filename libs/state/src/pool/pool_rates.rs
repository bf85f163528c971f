//! What the endpoints of a pool show of their speed together.

use std::collections::BTreeMap;

use signalbox_prefix::EndpointMap;
use signalbox_types::{EndpointKey, Engine, Rates};

use super::endpoint_assessor::{EndpointAssessor, is_significant};
use super::prefill_estimator::{PoolRanges, RateRange};

/// The number of running requests at which decode times are compared.
const COMPARED_RUNNING: u64 = 16;

/// The time per token, in percent of the fastest other endpoint's, below which an endpoint decodes faster than
/// all others.
const FASTER_PERCENT: u64 = 75;

/// What the endpoints of a pool show of their speed together.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolRates {
    /// The medians.
    pub(crate) typical: Rates,
    /// What each endpoint showed when it was considered last.
    endpoints: EndpointMap<Shown>,
    /// Whether that has changed since the last comparison.
    is_outdated: bool,
    /// The two middle values of each rate in ascending order. If their number is odd, the second is the median.
    middle: [Rates; 2],
    /// The prefill rates that the endpoints of an engine kind show by reported work.
    shown: BTreeMap<Engine, RateRange>,
    /// The highest prefill rates.
    prefill: Best,
    /// The shortest measured times per token, negated.
    decode: Best,
    /// How often the rates were updated.
    #[cfg(test)]
    pub(crate) updates: usize,
}

/// What one endpoint shows of its speed.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    engine: Engine,
    estimated: Rates,
    has_measured_decode: bool,
    has_reported_work: bool,
}

impl PoolRates {
    /// Records what an endpoint shows now. Returns the rates that the pool believes: an endpoint alone cannot show that
    /// it processes prompts faster than every other one, because output that comes early looks the same. Its claim
    /// counts if another endpoint is as fast, or if by its engine's counters it also decodes faster than every other.
    pub(crate) fn record(
        &mut self,
        endpoint: EndpointKey,
        engine: &Engine,
        assessor: &EndpointAssessor,
    ) -> Rates {
        let shown = Shown {
            engine: engine.clone(),
            estimated: assessor.estimated_rates(self.ranges(engine)),
            has_measured_decode: assessor.has_measured_decode(),
            has_reported_work: assessor.has_reported_work(),
        };
        let limited = self.limited(endpoint, &shown);
        if self.endpoints.get(&endpoint) != Some(&shown) {
            self.is_outdated = true;
            self.endpoints.insert(endpoint, shown);
        }
        limited
    }

    /// Forgets an endpoint that is gone.
    pub(crate) fn remove(&mut self, endpoint: EndpointKey) {
        self.is_outdated |= self.endpoints.remove(&endpoint).is_some();
    }

    /// Compares what the endpoints show, if any of it has changed since. Returns those for which the comparison with the
    /// others may differ now.
    pub(crate) fn update(&mut self) -> Vec<EndpointKey> {
        #[cfg(test)]
        {
            self.updates += 1;
        }
        if !std::mem::take(&mut self.is_outdated) {
            return Vec::new();
        }
        let fastest = [std::mem::take(&mut self.prefill), std::mem::take(&mut self.decode)];
        self.shown.clear();
        for (endpoint, shown) in &self.endpoints {
            let prefill = shown.estimated.prefill_tokens_per_second;
            self.prefill.add(*endpoint, i64::from(prefill));
            if shown.has_measured_decode {
                self.decode.add(*endpoint, -(compared_decode_us(shown.estimated) as i64));
            }
            if shown.has_reported_work {
                let range = self.shown.entry(shown.engine.clone()).or_insert(RateRange::of(prefill));
                *range = range.hull(RateRange::of(prefill));
            }
        }
        let limited = self.endpoints.iter().map(|(endpoint, shown)| self.limited(*endpoint, shown));
        let believed: Vec<_> = limited.collect();
        self.middle = middle(&believed);
        self.typical = steady(self.typical, self.middle[believed.len() % 2]);
        let now = [self.prefill, self.decode];
        let concerned = if now == fastest { Vec::new() } else { [fastest, now].concat() };
        concerned.into_iter().filter_map(|best| best.first.map(|(endpoint, _)| endpoint)).collect()
    }

    /// Returns the typical rates of all endpoints except `endpoint`.
    pub(crate) fn typical_without(&self, endpoint: EndpointKey) -> Rates {
        let Some(shown) = self.endpoints.get(&endpoint) else { return self.typical };
        let own = self.limited(endpoint, shown);
        if self.endpoints.len() == 1 {
            return steady(self.typical, Rates::default());
        }
        // Without a value of the lower half, the values above it move down by one.
        let [low, high] = self.middle;
        let median = |of: fn(&Rates) -> u32| if of(&own) <= of(&low) { of(&high) } else { of(&low) };
        steady(self.typical, of_each_rate(median))
    }

    /// Returns the prefill rates that are plausible for, and shown by, endpoints of this engine kind.
    pub(crate) fn ranges(&self, engine: &Engine) -> PoolRanges {
        let prior = RateRange::of(Rates::default().prefill_tokens_per_second);
        PoolRanges {
            plausible: prior.hull(RateRange::of(self.typical.prefill_tokens_per_second)),
            shown: self.shown.get(engine).map_or(prior, |shown| prior.hull(*shown)),
        }
    }

    fn limited(&self, endpoint: EndpointKey, shown: &Shown) -> Rates {
        let Shown { estimated, has_measured_decode, .. } = *shown;
        let Some(fastest_other) = self.prefill.without(endpoint) else { return estimated };
        let is_faster_decoder = has_measured_decode
            && self.decode.without(endpoint).is_some_and(|other_us| {
                compared_decode_us(estimated) * 100 < other_us.unsigned_abs() * FASTER_PERCENT
            });
        if is_faster_decoder {
            return estimated;
        }
        let limit = u32::try_from(fastest_other).unwrap_or(u32::MAX);
        Rates { prefill_tokens_per_second: estimated.prefill_tokens_per_second.min(limit), ..estimated }
    }
}

fn compared_decode_us(rates: Rates) -> u64 {
    u64::from(rates.decode_token_us) + COMPARED_RUNNING * u64::from(rates.decode_interference_us)
}

/// Returns `after`, with rates that have not changed significantly as they were.
fn steady(before: Rates, after: Rates) -> Rates {
    let steady = |before, after| if is_significant(before, after) { after } else { before };
    Rates {
        prefill_tokens_per_second: steady(before.prefill_tokens_per_second, after.prefill_tokens_per_second),
        decode_token_us: steady(before.decode_token_us, after.decode_token_us),
        decode_interference_us: steady(before.decode_interference_us, after.decode_interference_us),
    }
}

/// Returns the two middle values of each rate in ascending order; the same value twice if there is only one, and
/// the default without any.
///
/// The median of an even number of values is the lower one, so that one of two endpoints cannot set it. Hence it
/// is the first of the two, and that of an odd number the second.
fn middle(all: &[Rates]) -> [Rates; 2] {
    if all.is_empty() {
        return Default::default();
    }
    let high_at = all.len() / 2;
    let low_at = high_at.saturating_sub(1);
    let values_at = |at: usize| {
        of_each_rate(|of| {
            let mut values: Vec<_> = all.iter().map(of).collect();
            *values.select_nth_unstable(at).1
        })
    };
    [values_at(low_at), values_at(high_at)]
}

/// Returns the rates that `value` gives for each rate, which it gets as a function of rates.
fn of_each_rate(value: impl Fn(fn(&Rates) -> u32) -> u32) -> Rates {
    Rates {
        prefill_tokens_per_second: value(|rates| rates.prefill_tokens_per_second),
        decode_token_us: value(|rates| rates.decode_token_us),
        decode_interference_us: value(|rates| rates.decode_interference_us),
    }
}

/// The two greatest values and whose the greatest is; of equal ones, the one with the lowest key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Best {
    first: Option<(EndpointKey, i64)>,
    second: Option<i64>,
}

impl Best {
    fn add(&mut self, endpoint: EndpointKey, value: i64) {
        match self.first {
            Some((best, first)) if (value, best) <= (first, endpoint) => {
                self.second = self.second.max(Some(value))
            }
            first => {
                self.second = first.map(|(_, value)| value);
                self.first = Some((endpoint, value));
            }
        }
    }

    /// Returns the greatest value of all endpoints except `endpoint`.
    fn without(&self, endpoint: EndpointKey) -> Option<i64> {
        match self.first {
            Some((best, _)) if best == endpoint => self.second,
            first => first.map(|(_, value)| value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn rates(value: u32) -> Rates {
        Rates { prefill_tokens_per_second: value, decode_token_us: !value, decode_interference_us: value / 2 }
    }

    fn shown(rates: &[Rates]) -> EndpointMap<Shown> {
        let shown = |estimated: &Rates| Shown {
            engine: Engine::Vllm,
            estimated: *estimated,
            has_measured_decode: false,
            has_reported_work: false,
        };
        rates.iter().enumerate().map(|(at, rates)| (EndpointKey(at as u64), shown(rates))).collect()
    }

    fn median(mut values: Vec<u32>) -> u32 {
        values.sort_unstable();
        values[(values.len() - 1) / 2]
    }

    proptest! {
        #[test]
        fn typical_rates_without_an_endpoint_are_the_medians_of_the_others(
            values in vec(any::<u8>(), 2..12), without in any::<proptest::sample::Index>(),
        ) {
            let without = without.index(values.len());
            // Any two of these values differ significantly.
            let of = |value: &u8| 1_000 + u32::from(*value % 8) * 1_000;
            let believed: Vec<_> = values.iter().map(|value| rates(of(value))).collect();
            let middle = middle(&believed);
            let all: Vec<_> = values.iter().map(of).collect();
            prop_assert_eq!(median(all.clone()), middle[believed.len() % 2].prefill_tokens_per_second);
            let typical = middle[believed.len() % 2];
            let pool = PoolRates { typical, endpoints: shown(&believed), middle, ..PoolRates::default() };
            let mut others = all;
            others.remove(without);
            let found = pool.typical_without(EndpointKey(without as u64));
            prop_assert_eq!(median(others.clone()), found.prefill_tokens_per_second);
            prop_assert_eq!(median(others.iter().map(|value| value / 2).collect()), found.decode_interference_us);
        }
    }

    #[test]
    fn typical_rates_without_the_only_endpoint_are_the_default() {
        let believed = [rates(77)];
        let (middle, endpoints) = (middle(&believed), shown(&believed));
        let pool = PoolRates { typical: rates(77), endpoints, middle, ..PoolRates::default() };
        assert_eq!(Rates::default(), pool.typical_without(EndpointKey(0)));
        assert_eq!(rates(77), pool.typical_without(EndpointKey(1)));
    }
}
