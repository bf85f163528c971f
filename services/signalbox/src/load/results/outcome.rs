//! The outcome of one request.

use std::fmt;
use std::time::Duration;

use signalbox_intake::response::Usage;

/// Measurements of one request that was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measurement {
    /// Endpoint that answered, if the response names it.
    pub(crate) endpoint: Option<String>,
    /// Time to the first output: text, reasoning or a tool call. `None` if the response is not streamed or has no output.
    pub(crate) ttft: Option<Duration>,
    /// Times between two outputs; 0 for outputs that arrived together.
    pub(crate) gaps: Vec<Duration>,
    /// Time to the end of the response.
    pub(crate) latency: Duration,
    pub(crate) usage: Option<Usage>,
}

impl Measurement {
    /// Returns the time per output token: that from the first output to the last ÷ the tokens after the first. `None` unless
    /// the response is streamed and reports more than one token.
    pub(crate) fn tpot(&self) -> Option<Duration> {
        let tokens = self.usage?.completion_tokens?;
        let after_first = u32::try_from(tokens.checked_sub(1)?).ok().filter(|tokens| *tokens > 0)?;
        self.ttft.map(|_| self.gaps.iter().sum::<Duration>() / after_first)
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The status is not a success.
    Status {
        code: u16,
        /// Why the picker refused the request, if it did: the response header `x-llm-d-request-dropped-reason`.
        reason: Option<String>,
    },
    /// The connection cannot be made.
    Connect,
    /// The connection was lost.
    Transport,
    /// The stream ended properly, but without its last event.
    Incomplete,
    /// The server reported an error in a response whose status is a success.
    InResponse,
    /// The response does not follow the API.
    InvalidResponse,
    /// The request timed out.
    Timeout,
}

impl Failure {
    /// Returns whether the request was refused because the pool could not take it.
    pub(crate) fn is_shed(&self) -> bool {
        matches!(self, Self::Status { code: 429, .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Status { code, reason: None } => return write!(formatter, "status {code}"),
            Self::Status { code, reason: Some(reason) } => {
                return write!(formatter, "status {code} {reason}");
            }
            Self::Connect => "cannot connect",
            Self::Transport => "connection lost",
            Self::Incomplete => "stream ended early",
            Self::InResponse => "error in the response",
            Self::InvalidResponse => "invalid response",
            Self::Timeout => "timeout",
        })
    }
}

/// The outcome of one request.
pub(crate) type Outcome = Result<Measurement, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_pool_sheds() {
        let refused =
            |code, reason: &str| Failure::Status { code, reason: Some(reason.to_owned()) }.is_shed();
        assert!(refused(429, "rejected-saturated") && refused(429, "rejected-ttl-expired"));
        assert!(Failure::Status { code: 429, reason: None }.is_shed());
        assert!(!refused(503, "rejected-no-endpoints") && !refused(503, "rejected-shutting-down"));
    }

    #[test]
    fn time_per_output_token_leaves_out_the_first() {
        let tokens = |completion_tokens| {
            let usage = Some(Usage { completion_tokens, ..Usage::default() });
            let gaps = vec![Duration::from_millis(10), Duration::ZERO, Duration::from_millis(20)];
            let ttft = Some(Duration::from_millis(500));
            Measurement { ttft, gaps, usage, ..Measurement::default() }
        };
        assert_eq!(Some(Duration::from_millis(10)), tokens(Some(4)).tpot());
        // Several tokens came in one event.
        assert_eq!(Some(Duration::from_millis(5)), tokens(Some(7)).tpot());
        for none in [None, Some(0), Some(1)] {
            assert_eq!(None, tokens(none).tpot(), "{none:?}");
        }
        assert_eq!(None, Measurement { ttft: None, ..tokens(Some(4)) }.tpot());
    }
}
