//! Adds up how requests were served. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Usage;

/// How one request was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// The model server that answered, if anybody said so.
    pub(super) pod: Option<String>,
    /// To the first text; none for answers that are not streamed or have no text.
    pub(super) ttft: Option<Duration>,
    /// To the end of the answer.
    pub(super) latency: Duration,
    pub(super) usage: Option<Usage>,
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// Another status than success.
    Status(u16),
    /// No connection.
    Connect,
    /// The connection broke.
    Transport,
    /// The stream ended properly, but before its last event.
    Incomplete,
    /// The server reported an error within the stream.
    InStream,
    /// The answer is not one of this API.
    Illegible,
    /// It took too long.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Status(code) => return write!(formatter, "status {code}"),
            Self::Connect => "cannot connect",
            Self::Transport => "connection broke",
            Self::Incomplete => "stream ended early",
            Self::InStream => "error within the stream",
            Self::Illegible => "illegible answer",
            Self::Timeout => "timeout",
        })
    }
}

/// What came of one request.
pub(super) type Outcome = Result<Measured, Failure>;

/// Times in microseconds, up to an hour, to three digits.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid"))
    }

    fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mean in milliseconds.
    pub(super) fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    /// The value in milliseconds that this share of the times does not exceed.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // an hour in microseconds is exact in an f64
        let value = self.0.value_at_quantile(quantile) as f64;
        value / 1_000.0
    }
}

/// All outcomes so far.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) served: u64,
    pub(super) failures: BTreeMap<Failure, u64>,
    pub(super) ttft: Times,
    pub(super) latency: Times,
    /// Requests per pod; under no name those of which nobody said where they were served.
    pub(super) pods: BTreeMap<Option<String>, u64>,
    /// Of all answers with a usage.
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    /// Of the answers that say how much was cached.
    pub(super) cached: Option<Cached>,
}

/// How much of the prompts was found in caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cached {
    pub(super) cached_tokens: u64,
    pub(super) prompt_tokens: u64,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            served: 0,
            failures: BTreeMap::new(),
            ttft: Times::new(),
            latency: Times::new(),
            pods: BTreeMap::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            cached: None,
        }
    }

    /// Adds an outcome.
    pub(super) fn add(&mut self, outcome: Outcome) {
        let measured = match outcome {
            Ok(measured) => measured,
            Err(failure) => {
                *self.failures.entry(failure).or_default() += 1;
                return;
            }
        };
        self.served += 1;
        self.latency.add(measured.latency);
        if let Some(ttft) = measured.ttft {
            self.ttft.add(ttft);
        }
        *self.pods.entry(measured.pod).or_default() += 1;
        let Some(usage) = measured.usage else { return };
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        if let Some(cached_tokens) = usage.cached_tokens {
            let cached = self.cached.get_or_insert_default();
            cached.cached_tokens += cached_tokens;
            cached.prompt_tokens += usage.prompt_tokens;
        }
    }

    /// How many requests failed.
    pub(super) fn failed(&self) -> u64 {
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
        let mut tally = Tally::new();
        let usage =
            |prompt_tokens, cached_tokens| Some(Usage { prompt_tokens, completion_tokens: 1, cached_tokens });
        let served =
            |usage| Measured { usage, pod: Some("a".into()), ttft: Some(millis(5)), latency: millis(9) };
        tally.add(Ok(served(usage(100, Some(30)))));
        tally.add(Ok(served(usage(50, None))));
        tally.add(Ok(Measured { latency: millis(9), ..Measured::default() }));
        tally.add(Err(Failure::Status(503)));
        assert_eq!((tally.served, tally.failed(), tally.prompt_tokens), (3, 1, 150));
        assert_eq!(tally.cached, Some(Cached { cached_tokens: 30, prompt_tokens: 100 }));
        assert_eq!(tally.pods, BTreeMap::from([(Some("a".into()), 2), (None, 1)]));
    }

    proptest! {
        #[test]
        fn quantiles_are_true_to_three_digits(mut times in proptest::collection::vec(1_u64..1_000_000, 1..200)) {
            let mut tally = Tally::new();
            for micros in &times {
                tally.add(Ok(Measured { latency: Duration::from_micros(*micros), ..Measured::default() }));
            }
            times.sort_unstable();
            let exact = times[(times.len() * 9).div_ceil(10) - 1] as f64 / 1_000.0;
            let measured = tally.latency.quantile_ms(0.9);
            prop_assert!((measured - exact).abs() <= exact * 0.001 + 0.001, "{measured} for {exact}");
        }
    }
}
