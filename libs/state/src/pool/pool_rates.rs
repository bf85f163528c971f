//! What the endpoints of a pool show of their speed together.

use std::collections::BTreeMap;

use signalbox_types::{EndpointKey, Engine, Rates};

use super::endpoint_assessor::{EndpointAssessor, is_significant};
use super::prefill_estimator::{PoolRanges, RateRange};

/// The number of running requests at which decode times are compared.
const COMPARED_RUNNING: u64 = 16;

/// The time per token, in percent of the fastest other endpoint's, below which an endpoint decodes faster than
/// all others.
const FASTER_PERCENT: u64 = 75;

/// What the endpoints of a pool show of their speed together.
#[derive(Clone, Debug)]
pub(crate) struct PoolRates {
    /// The medians.
    pub(crate) typical: Rates,
    /// The prefill rates that the endpoints of an engine kind show by reported work.
    shown: BTreeMap<Engine, RateRange>,
    /// The highest prefill rates.
    prefill: Best,
    /// The shortest measured times per token, negated.
    decode: Best,
}

impl Default for PoolRates {
    fn default() -> Self {
        let (prefill, decode) = (Best::default(), Best::default());
        Self { typical: Rates::default(), shown: BTreeMap::new(), prefill, decode }
    }
}

impl PoolRates {
    /// Returns what these endpoints show; `before` is what they showed last time.
    pub(crate) fn of<'a>(
        endpoints: impl Iterator<Item = (EndpointKey, Engine, &'a EndpointAssessor)>,
        before: &Self,
    ) -> Self {
        let mut rates = Self::default();
        let mut all = Vec::new();
        for (endpoint, engine, assessor) in endpoints {
            let estimated = assessor.estimated_rates(before.ranges(engine));
            let prefill = estimated.prefill_tokens_per_second;
            rates.prefill.add(endpoint, i64::from(prefill));
            if assessor.has_measured_decode() {
                rates.decode.add(endpoint, -(compared_decode_us(estimated) as i64));
            }
            if assessor.has_reported_work() {
                let shown = rates.shown.entry(engine).or_insert(RateRange::of(prefill));
                *shown = shown.hull(RateRange::of(prefill));
            }
            all.push((endpoint, estimated, assessor));
        }
        let limited = all
            .into_iter()
            .map(|(endpoint, estimated, assessor)| rates.limited(endpoint, estimated, assessor));
        let medians = medians(&limited.collect::<Vec<_>>());
        Self { typical: steady(before.typical, medians), ..rates }
    }

    /// Returns the prefill rates that are plausible for, and shown by, endpoints of this engine kind.
    pub(crate) fn ranges(&self, engine: Engine) -> PoolRanges {
        let prior = RateRange::of(Rates::default().prefill_tokens_per_second);
        PoolRanges {
            plausible: prior.hull(RateRange::of(self.typical.prefill_tokens_per_second)),
            shown: self.shown.get(&engine).map_or(prior, |shown| prior.hull(*shown)),
        }
    }

    /// Returns the rates of `endpoint` that the pool believes. An endpoint alone cannot show that it processes
    /// prompts faster than every other one, because output that comes early looks the same. Its claim counts if
    /// another endpoint is as fast, or if by its engine's counters it also decodes faster than every other.
    pub(crate) fn supported(
        &self,
        endpoint: EndpointKey,
        engine: Engine,
        assessor: &EndpointAssessor,
    ) -> Rates {
        self.limited(endpoint, assessor.estimated_rates(self.ranges(engine)), assessor)
    }

    fn limited(&self, endpoint: EndpointKey, estimated: Rates, assessor: &EndpointAssessor) -> Rates {
        let Some(fastest_other) = self.prefill.without(endpoint) else { return estimated };
        let is_faster_decoder = assessor.has_measured_decode()
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

/// Returns the median of each rate; the lower one of an even number of values, so that one of two endpoints
/// cannot set it.
fn medians(all: &[Rates]) -> Rates {
    let median = |of: fn(&Rates) -> u32| {
        let mut values: Vec<_> = all.iter().map(of).collect();
        let Some(middle) = values.len().checked_sub(1).map(|last| last / 2) else {
            return of(&Rates::default());
        };
        *values.select_nth_unstable(middle).1
    };
    Rates {
        prefill_tokens_per_second: median(|rates| rates.prefill_tokens_per_second),
        decode_token_us: median(|rates| rates.decode_token_us),
        decode_interference_us: median(|rates| rates.decode_interference_us),
    }
}

/// The two greatest values and whose the greatest is.
#[derive(Clone, Copy, Debug, Default)]
struct Best {
    first: Option<(EndpointKey, i64)>,
    second: Option<i64>,
}

impl Best {
    fn add(&mut self, endpoint: EndpointKey, value: i64) {
        match self.first {
            Some((_, first)) if value <= first => self.second = self.second.max(Some(value)),
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
