//! Aggregates the outcomes of requests. Pure.

use std::collections::BTreeMap;

use signalbox_intake::response::Usage;

use super::goals::Goals;
use super::latencies::Latencies;
use super::outcome::{Failure, Outcome};

/// Statistics over the outcomes so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statistics {
    goals: Goals,
    pub(crate) served: u64,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) ttft: Latencies,
    /// Mean time per output token after the first, of each response.
    pub(crate) tpot: Latencies,
    /// Times between two outputs of a response.
    pub(crate) itl: Latencies,
    pub(crate) latency: Latencies,
    /// Requests within the goals.
    pub(crate) good: u64,
    /// Requests per endpoint. `None` counts the requests whose response names none.
    pub(crate) endpoints: BTreeMap<Option<String>, u64>,
    /// Responses that report their usage.
    pub(crate) with_usage: u64,
    /// Prompt tokens of all responses with a usage.
    pub(crate) prompt_tokens: u64,
    /// Output tokens of all responses with a usage.
    pub(crate) completion_tokens: u64,
    /// Prompt tokens that were found in caches; `None` if no response reports any. An engine that reports them says
    /// nothing in a response without any.
    pub(crate) cached_tokens: Option<u64>,
}

impl Statistics {
    /// Creates statistics without outcomes. `goals` tell which responses are good.
    pub(crate) fn new(goals: Goals) -> Self {
        Self { goals, ..Self::default() }
    }

    /// Adds an outcome.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        let measurement = match outcome {
            Ok(measurement) => measurement,
            Err(failure) => {
                *self.failures.entry(failure.clone()).or_default() += 1;
                return;
            }
        };
        let tpot = measurement.tpot();
        self.served += 1;
        self.good += u64::from(self.goals.are_met(measurement.ttft, tpot));
        self.latency.add(measurement.latency);
        measurement.ttft.into_iter().for_each(|ttft| self.ttft.add(ttft));
        tpot.into_iter().for_each(|tpot| self.tpot.add(tpot));
        measurement.gaps.iter().for_each(|gap| self.itl.add(*gap));
        *self.endpoints.entry(measurement.endpoint.clone()).or_default() += 1;
        let Some(Usage { prompt_tokens, completion_tokens, cached_tokens }) = measurement.usage else {
            return;
        };
        self.with_usage += 1;
        self.prompt_tokens += prompt_tokens.unwrap_or(0);
        self.completion_tokens += completion_tokens.unwrap_or(0);
        if let Some(cached_tokens) = cached_tokens {
            *self.cached_tokens.get_or_insert_default() += cached_tokens;
        }
    }

    /// Returns the number of failed requests.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the number of requests that the picker refused because the pool could not take them.
    pub(crate) fn shed(&self) -> u64 {
        self.failures.iter().filter(|(failure, _)| failure.is_shed()).map(|(_, count)| count).sum()
    }

    /// Returns the number of requests that were served or failed.
    pub(crate) fn requests(&self) -> u64 {
        self.served + self.failed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::results::outcome::Measurement;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn outcomes_add_up() {
        let mut statistics = Statistics::new(Goals { ttft: Some(millis(5)), tpot: None });
        let served = |ttft, cached_tokens| Measurement {
            usage: Some(Usage { prompt_tokens: Some(50), completion_tokens: Some(3), cached_tokens }),
            endpoint: Some("a".into()),
            ttft: Some(millis(ttft)),
            latency: millis(9),
            gaps: vec![millis(1), millis(3)],
        };
        statistics.add(&Ok(served(5, Some(30))));
        statistics.add(&Ok(served(6, None)));
        statistics.add(&Ok(Measurement { latency: millis(9), ..Measurement::default() }));
        let shed = Failure::Status { code: 429, reason: Some("rejected-saturated".to_owned()) };
        statistics.add(&Err(shed));
        let without_endpoints = Some("rejected-no-endpoints".to_owned());
        statistics.add(&Err(Failure::Status { code: 503, reason: without_endpoints }));
        assert_eq!(
            (3, 2, 1, 5),
            (statistics.served, statistics.failed(), statistics.shed(), statistics.requests())
        );
        assert_eq!(
            (100, 6, 2),
            (statistics.prompt_tokens, statistics.completion_tokens, statistics.with_usage)
        );
        assert_eq!((Some(30), 1), (statistics.cached_tokens, statistics.good));
        assert_eq!(BTreeMap::from([(Some("a".into()), 2), (None, 1)]), statistics.endpoints);
        // Both responses took 4 ms for the two tokens after the first.
        assert_eq!((2.0, 4), (statistics.tpot.mean_ms().round(), statistics.itl.count()));
    }
}
