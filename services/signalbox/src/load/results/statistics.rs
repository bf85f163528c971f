//! Aggregates the outcomes of requests. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The token counts that a server reports with a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Prompt tokens that were found in the cache. `None` if the server does not report them.
    pub(crate) cached_tokens: Option<u64>,
}

/// Measurements of one request that was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measurement {
    /// Pod that answered, if the response names it.
    pub(crate) pod: Option<String>,
    /// Time to the first text. `None` if the response is not streamed or has no text.
    pub(crate) ttft: Option<Duration>,
    /// Time to the end of the response.
    pub(crate) latency: Duration,
    pub(crate) usage: Option<Usage>,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The status is not a success.
    Status(u16),
    /// The connection cannot be made.
    Connect,
    /// The connection was lost.
    Transport,
    /// The stream ended properly, but without its last event.
    Incomplete,
    /// The server reported an error in the stream.
    InStream,
    /// The response does not follow the API.
    InvalidResponse,
    /// The request timed out.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Status(code) => return write!(formatter, "status {code}"),
            Self::Connect => "cannot connect",
            Self::Transport => "connection lost",
            Self::Incomplete => "stream ended early",
            Self::InStream => "error in the stream",
            Self::InvalidResponse => "invalid response",
            Self::Timeout => "timeout",
        })
    }
}

/// The outcome of one request.
pub(crate) type Outcome = Result<Measurement, Failure>;

/// A histogram of times in microseconds, up to an hour, with a precision of three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid"))
    }

    fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns whether nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the mean in milliseconds.
    pub(crate) fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    /// Returns a quantile (0 to 1) in milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // an hour in microseconds is exact in an f64
        let value = self.0.value_at_quantile(quantile) as f64;
        value / 1_000.0
    }
}

/// Statistics over the outcomes so far.
#[derive(Clone, Debug)]
pub(crate) struct Statistics {
    pub(crate) served: u64,
    pub(crate) failures: BTreeMap<Failure, u64>,
    pub(crate) ttft: Latencies,
    pub(crate) latency: Latencies,
    /// Requests per pod. `None` counts the requests whose response names no pod.
    pub(crate) pods: BTreeMap<Option<String>, u64>,
    /// Prompt tokens of all responses with a usage.
    pub(crate) prompt_tokens: u64,
    /// Output tokens of all responses with a usage.
    pub(crate) completion_tokens: u64,
    /// Prompt tokens that were found in caches; `None` if no response reports any. An engine that reports them says
    /// nothing in a response without any.
    pub(crate) cached_tokens: Option<u64>,
}

impl Statistics {
    /// Creates statistics without outcomes.
    pub(crate) fn new() -> Self {
        Self {
            served: 0,
            failures: BTreeMap::new(),
            ttft: Latencies::new(),
            latency: Latencies::new(),
            pods: BTreeMap::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            cached_tokens: None,
        }
    }

    /// Adds an outcome.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        let measurement = match outcome {
            Ok(measurement) => measurement,
            Err(failure) => {
                *self.failures.entry(failure).or_default() += 1;
                return;
            }
        };
        self.served += 1;
        self.latency.add(measurement.latency);
        if let Some(ttft) = measurement.ttft {
            self.ttft.add(ttft);
        }
        *self.pods.entry(measurement.pod).or_default() += 1;
        let Some(usage) = measurement.usage else { return };
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        if let Some(cached_tokens) = usage.cached_tokens {
            *self.cached_tokens.get_or_insert_default() += cached_tokens;
        }
    }

    /// Returns the number of failed requests.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn outcomes_add_up() {
        let mut statistics = Statistics::new();
        let usage =
            |prompt_tokens, cached_tokens| Some(Usage { prompt_tokens, completion_tokens: 1, cached_tokens });
        let served =
            |usage| Measurement { usage, pod: Some("a".into()), ttft: Some(millis(5)), latency: millis(9) };
        statistics.add(Ok(served(usage(100, Some(30)))));
        statistics.add(Ok(served(usage(50, None))));
        statistics.add(Ok(Measurement { latency: millis(9), ..Measurement::default() }));
        statistics.add(Err(Failure::Status(503)));
        assert_eq!((statistics.served, statistics.failed(), statistics.prompt_tokens), (3, 1, 150));
        assert_eq!(Some(30), statistics.cached_tokens);
        assert_eq!(statistics.pods, BTreeMap::from([(Some("a".into()), 2), (None, 1)]));
    }

    proptest! {
        #[test]
        fn quantiles_are_precise_to_three_digits(mut times in proptest::collection::vec(1_u64..1_000_000, 1..200)) {
            let mut statistics = Statistics::new();
            for micros in &times {
                statistics.add(Ok(Measurement { latency: Duration::from_micros(*micros), ..Measurement::default() }));
            }
            times.sort_unstable();
            let exact = times[(times.len() * 9).div_ceil(10) - 1] as f64 / 1_000.0;
            let measurement = statistics.latency.quantile_ms(0.9);
            prop_assert!((measurement - exact).abs() <= exact * 0.001 + 0.001, "{measurement} for {exact}");
        }
    }
}
