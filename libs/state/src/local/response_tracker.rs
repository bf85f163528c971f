//! What the response to one request shows of its endpoint.

use crate::reports::ResponseOutcome;

/// HTTP statuses that mean the endpoint could not serve any request.
const FAILURES: [u16; 4] = [500, 502, 503, 504];

/// HTTP statuses that mean the endpoint does not serve requests for this model, now or at all: other endpoints
/// may.
const REFUSALS: [u16; 5] = [401, 403, 404, 408, 429];

/// Follows the response to one request and tells what the pool's owner should hear.
///
/// Only output of a successful response shows that the endpoint served the request. Any other status is the
/// client's fault (400, 413, 422, …) and says nothing of the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseTracker {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing arrived, or only a successful status.
    #[default]
    Waiting,
    /// Output arrived.
    Served,
    /// The response is an error.
    Unserved,
}

impl ResponseTracker {
    /// Records the status of the response.
    pub fn record_status(&mut self, status: u16) -> Option<ResponseOutcome> {
        if status < 300 || self.state != State::Waiting {
            return None;
        }
        self.state = State::Unserved;
        outcome_of(status)
    }

    /// Records that output arrived.
    pub fn record_output(&mut self) -> Option<ResponseOutcome> {
        if self.state != State::Waiting {
            return None;
        }
        self.state = State::Served;
        Some(ResponseOutcome::FirstOutput)
    }

    /// Records that the body reports an error, with the status that the response would have had if it tells
    /// one. An error without a status refuses the request if no output came before.
    pub fn record_error(&mut self, status: Option<u16>) -> Option<ResponseOutcome> {
        let before = std::mem::replace(&mut self.state, State::Unserved);
        match (before, status) {
            (State::Unserved, _) | (State::Served, None) => None,
            (State::Waiting, None) => Some(ResponseOutcome::Refused),
            (State::Waiting | State::Served, Some(status)) => outcome_of(status),
        }
    }

    /// Records that the endpoint ended a streamed response. Without output before, it refused the request.
    pub fn record_end_of_stream(&mut self) -> Option<ResponseOutcome> {
        if self.state != State::Waiting {
            return None;
        }
        self.state = State::Unserved;
        Some(ResponseOutcome::Refused)
    }

    /// Returns whether the response turned out to be an error.
    pub fn is_unserved(&self) -> bool {
        self.state == State::Unserved
    }
}

/// Returns what an error status says of the endpoint.
fn outcome_of(status: u16) -> Option<ResponseOutcome> {
    match status {
        _ if FAILURES.contains(&status) => Some(ResponseOutcome::Failed),
        _ if REFUSALS.contains(&status) => Some(ResponseOutcome::Refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_output_of_a_successful_response_serves_the_request() {
        for status in [400, 401, 404, 413, 422, 429, 500, 503] {
            let mut tracker = ResponseTracker::default();
            tracker.record_status(status);
            assert_eq!(None, tracker.record_output(), "{status}");
            assert!(tracker.is_unserved());
        }
        let mut tracker = ResponseTracker::default();
        assert_eq!(None, tracker.record_status(200));
        assert_eq!(Some(ResponseOutcome::FirstOutput), tracker.record_output());
        assert_eq!((None, None), (tracker.record_output(), tracker.record_end_of_stream()));
        assert!(!tracker.is_unserved());
    }

    #[test]
    fn statuses_count_against_the_endpoint_the_model_or_nobody() {
        let outcome = |status| ResponseTracker::default().record_status(status);
        for status in [500, 502, 503, 504] {
            assert_eq!(Some(ResponseOutcome::Failed), outcome(status), "{status}");
        }
        for status in [401, 403, 404, 408, 429] {
            assert_eq!(Some(ResponseOutcome::Refused), outcome(status), "{status}");
        }
        for status in [400, 413, 422, 302, 501] {
            assert_eq!(None, outcome(status), "{status}");
        }
    }

    #[test]
    fn early_ends_and_errors_before_output_refuse_the_request() {
        assert_eq!(Some(ResponseOutcome::Refused), ResponseTracker::default().record_end_of_stream());
        assert_eq!(Some(ResponseOutcome::Refused), ResponseTracker::default().record_error(None));
        assert_eq!(Some(ResponseOutcome::Failed), ResponseTracker::default().record_error(Some(503)));
        assert_eq!(None, ResponseTracker::default().record_error(Some(400)));
        let mut served = ResponseTracker::default();
        served.record_output();
        assert_eq!(None, served.record_error(None), "it served the prompt");
        assert!(served.is_unserved());
    }
}
