//! Takes an endpoint that fails request after request out, and lets one request at a time find out whether it is well again.

use crate::assessment::Circuit;

/// Failures in a row, of requests of all replicas, that break a circuit.
const FAILURES_UNTIL_BROKEN: u32 = 5;

/// For so long nothing is sent after the first break; twice as long after each failed probe.
const FIRST_PAUSE_MS: u64 = 1_000;

/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 30_000;

/// The circuit of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CircuitBreaker {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Sound { failures: u32 },
    Broken { until_ms: u64, pause_ms: u64 },
    Probing { pause_ms: u64 },
}

impl Default for State {
    fn default() -> Self {
        Self::Sound { failures: 0 }
    }
}

impl CircuitBreaker {
    /// One that an owner before found to be `circuit`; how long its pause was is not known any more.
    pub(crate) fn inherited(circuit: Circuit, now_ms: u64) -> Self {
        let state = match circuit {
            Circuit::Sound => State::default(),
            Circuit::Broken => broken(now_ms, FIRST_PAUSE_MS),
            Circuit::Probing => State::Probing { pause_ms: FIRST_PAUSE_MS },
        };
        Self { state }
    }

    /// A request was answered.
    pub(crate) fn succeeded(&mut self) {
        // What was sent before the circuit broke may still be answered; that is no probe.
        if !matches!(self.state, State::Broken { .. }) {
            self.state = State::default();
        }
    }

    /// A request failed for a reason that is the endpoint's.
    pub(crate) fn failed(&mut self, now_ms: u64) {
        self.state = match self.state {
            State::Sound { failures } if failures + 1 < FAILURES_UNTIL_BROKEN => {
                State::Sound { failures: failures + 1 }
            }
            State::Sound { .. } => broken(now_ms, FIRST_PAUSE_MS),
            State::Probing { pause_ms } => broken(now_ms, (pause_ms * 2).min(LONGEST_PAUSE_MS)),
            State::Broken { .. } => self.state,
        };
    }

    /// Whether it can be trusted at `now_ms`.
    pub(crate) fn circuit(&mut self, now_ms: u64) -> Circuit {
        if let State::Broken { until_ms, pause_ms } = self.state
            && now_ms >= until_ms
        {
            self.state = State::Probing { pause_ms };
        }
        match self.state {
            State::Sound { .. } => Circuit::Sound,
            State::Broken { .. } => Circuit::Broken,
            State::Probing { .. } => Circuit::Probing,
        }
    }
}

fn broken(now_ms: u64, pause_ms: u64) -> State {
    State::Broken { until_ms: now_ms.saturating_add(pause_ms), pause_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_at(now_ms: u64) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        (0..FAILURES_UNTIL_BROKEN).for_each(|_| breaker.failed(now_ms));
        breaker
    }

    #[test]
    fn failures_in_a_row_break_it_and_a_success_between_them_does_not() {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..10 {
            (1..FAILURES_UNTIL_BROKEN).for_each(|_| breaker.failed(0));
            breaker.succeeded();
        }
        assert_eq!(Circuit::Sound, breaker.circuit(0));
        assert_eq!(Circuit::Broken, broken_at(7).circuit(7));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_one_that_fails_doubles_the_pause() {
        let mut breaker = broken_at(0);
        breaker.succeeded();
        assert_eq!(Circuit::Broken, breaker.circuit(FIRST_PAUSE_MS - 1));
        assert_eq!(Circuit::Probing, breaker.circuit(FIRST_PAUSE_MS));
        breaker.failed(1_500);
        assert_eq!(Circuit::Broken, breaker.circuit(1_500 + 2 * FIRST_PAUSE_MS - 1));
        assert_eq!(Circuit::Probing, breaker.circuit(1_500 + 2 * FIRST_PAUSE_MS));
        breaker.succeeded();
        assert_eq!(Circuit::Sound, breaker.circuit(4_000));
    }

    #[test]
    fn the_pause_has_an_end() {
        let mut breaker = broken_at(0);
        let mut now_ms = 0;
        for _ in 0..40 {
            now_ms += LONGEST_PAUSE_MS;
            assert_eq!(Circuit::Probing, breaker.circuit(now_ms));
            breaker.failed(now_ms);
        }
    }
}
