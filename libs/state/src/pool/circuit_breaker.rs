//! The circuit breaker: takes an endpoint out, or one model there, after repeated failures, then probes it with
//! one request at a time.

use crate::pool_state::Circuit;

/// The number of consecutive failures, over all replicas, that open the circuit.
const FAILURES_UNTIL_OPEN: u32 = 5;

/// The first backoff in milliseconds: how long the endpoint gets no requests. It doubles after each failed
/// probe.
const FIRST_BACKOFF_MS: u64 = 1_000;

/// The maximum backoff in milliseconds.
const MAX_BACKOFF_MS: u64 = 30_000;

/// How long the outcome of a probe may take in milliseconds. After that another request may probe.
const PROBE_TIMEOUT_MS: u64 = 10_000;

/// The circuit breaker of one endpoint, or of one model there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CircuitBreaker {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until_ms: u64, backoff_ms: u64 },
    HalfOpen { backoff_ms: u64 },
    Probed { until_ms: u64, backoff_ms: u64 },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl CircuitBreaker {
    /// Restores the circuit breaker from the state that an earlier owner left. Its backoff is lost and starts
    /// over.
    pub(crate) fn from_circuit(circuit: Circuit, now_ms: u64) -> Self {
        let state = match circuit {
            Circuit::Closed => State::default(),
            Circuit::Open => open(now_ms, FIRST_BACKOFF_MS),
            Circuit::HalfOpen => State::HalfOpen { backoff_ms: FIRST_BACKOFF_MS },
        };
        Self { state }
    }

    /// Records a successful response.
    pub(crate) fn record_success(&mut self) {
        // A response to a request sent before the circuit opened is no probe.
        if !matches!(self.state, State::Open { .. }) {
            self.state = State::default();
        }
    }

    /// Records a failure that the endpoint caused.
    pub(crate) fn record_failure(&mut self, now_ms: u64) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < FAILURES_UNTIL_OPEN => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => open(now_ms, FIRST_BACKOFF_MS),
            State::HalfOpen { backoff_ms } | State::Probed { backoff_ms, .. } => {
                open(now_ms, (backoff_ms * 2).min(MAX_BACKOFF_MS))
            }
            State::Open { .. } => self.state,
        };
    }

    /// Records that a probe was sent. Until its outcome is known, the circuit is open to other requests.
    pub(crate) fn record_probe(&mut self, now_ms: u64) {
        if let State::HalfOpen { backoff_ms } = self.state {
            self.state = State::Probed { until_ms: now_ms.saturating_add(PROBE_TIMEOUT_MS), backoff_ms };
        }
    }

    /// Returns the circuit state at `now_ms`.
    pub(crate) fn circuit(&mut self, now_ms: u64) -> Circuit {
        if let State::Open { until_ms, backoff_ms } | State::Probed { until_ms, backoff_ms } = self.state
            && now_ms >= until_ms
        {
            self.state = State::HalfOpen { backoff_ms };
        }
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } | State::Probed { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }
}

fn open(now_ms: u64, backoff_ms: u64) -> State {
    State::Open { until_ms: now_ms.saturating_add(backoff_ms), backoff_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened_at(now_ms: u64) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        (0..FAILURES_UNTIL_OPEN).for_each(|_| breaker.record_failure(now_ms));
        breaker
    }

    #[test]
    fn only_consecutive_failures_open_the_circuit() {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..10 {
            (1..FAILURES_UNTIL_OPEN).for_each(|_| breaker.record_failure(0));
            breaker.record_success();
        }
        assert_eq!(Circuit::Closed, breaker.circuit(0));
        assert_eq!(Circuit::Open, opened_at(7).circuit(7));
    }

    #[test]
    fn successful_probe_closes_the_circuit_and_failed_probe_doubles_the_backoff() {
        let mut breaker = opened_at(0);
        breaker.record_success();
        assert_eq!(Circuit::Open, breaker.circuit(FIRST_BACKOFF_MS - 1));
        assert_eq!(Circuit::HalfOpen, breaker.circuit(FIRST_BACKOFF_MS));
        breaker.record_failure(1_500);
        assert_eq!(Circuit::Open, breaker.circuit(1_500 + 2 * FIRST_BACKOFF_MS - 1));
        assert_eq!(Circuit::HalfOpen, breaker.circuit(1_500 + 2 * FIRST_BACKOFF_MS));
        breaker.record_success();
        assert_eq!(Circuit::Closed, breaker.circuit(4_000));
    }

    #[test]
    fn backoff_is_bounded() {
        let mut breaker = opened_at(0);
        let mut now_ms = 0;
        for _ in 0..40 {
            now_ms += MAX_BACKOFF_MS;
            assert_eq!(Circuit::HalfOpen, breaker.circuit(now_ms));
            breaker.record_failure(now_ms);
        }
    }
}
