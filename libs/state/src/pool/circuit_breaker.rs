//! The circuit breaker: takes an endpoint out, or one model there, after repeated failures, then probes it with
//! one request at a time.

use signalbox_types::Origin;

use super::probers::Probers;
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

/// How long the named replica may take to send a probe, in milliseconds: it may have no request to send.
const NAMED_MS: u64 = 1_000;

/// How long after that no other replica is named, in milliseconds: a probe that the replica has sent in the meantime is
/// known by then.
const WITHDRAWN_MS: u64 = 500;

/// The circuit breaker of one endpoint, or of one model there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CircuitBreaker {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until_ms: u64,
        backoff_ms: u64,
    },
    /// The replica may send a probe.
    HalfOpen {
        until_ms: u64,
        backoff_ms: u64,
        prober: Option<Origin>,
    },
    /// A probe was sent, or may have been. The replica is the last one that was named.
    Probed {
        until_ms: u64,
        backoff_ms: u64,
        prober: Option<Origin>,
    },
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
            // The earlier owner may have learned of a probe whose outcome is not known yet.
            Circuit::Open => {
                let until_ms = now_ms.saturating_add(PROBE_TIMEOUT_MS);
                State::Probed { until_ms, backoff_ms: FIRST_BACKOFF_MS, prober: None }
            }
            Circuit::HalfOpen(prober) => withdrawn(now_ms, FIRST_BACKOFF_MS, prober),
        };
        Self { state }
    }

    /// Returns whether a successful response changes nothing.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0 })
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
            State::HalfOpen { backoff_ms, .. } | State::Probed { backoff_ms, .. } => {
                open(now_ms, (backoff_ms * 2).min(MAX_BACKOFF_MS))
            }
            State::Open { .. } => self.state,
        };
    }

    /// Records that a probe was sent. Until its outcome is known, the circuit is open to other requests.
    pub(crate) fn record_probe(&mut self, now_ms: u64) {
        if let State::HalfOpen { backoff_ms, prober, .. } | State::Probed { backoff_ms, prober, .. } =
            self.state
        {
            let until_ms = now_ms.saturating_add(PROBE_TIMEOUT_MS);
            self.state = State::Probed { until_ms, backoff_ms, prober };
        }
    }

    /// Returns when the circuit changes by time alone, in milliseconds.
    pub(crate) fn changes_at_ms(&self) -> Option<u64> {
        match self.state {
            State::Open { until_ms, .. }
            | State::Probed { until_ms, .. }
            | State::HalfOpen { until_ms, .. } => Some(until_ms),
            State::Closed { .. } => None,
        }
    }

    /// Returns whether requests are accepted.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Returns the circuit state at `now_ms`. `probers` take turns to send a probe.
    pub(crate) fn circuit(&mut self, now_ms: u64, probers: &Probers) -> Circuit {
        self.state = match self.state {
            State::HalfOpen { until_ms, backoff_ms, prober }
                if now_ms >= until_ms || !prober.is_some_and(|prober| probers.is_live(prober)) =>
            {
                withdrawn(now_ms, backoff_ms, prober)
            }
            State::Open { until_ms, backoff_ms } if now_ms >= until_ms => {
                half_open(now_ms, backoff_ms, None, probers).unwrap_or(self.state)
            }
            State::Probed { until_ms, backoff_ms, prober } if now_ms >= until_ms => {
                half_open(now_ms, backoff_ms, prober, probers).unwrap_or(self.state)
            }
            state => state,
        };
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } | State::Probed { .. } => Circuit::Open,
            State::HalfOpen { prober, .. } => Circuit::HalfOpen(prober),
        }
    }
}

/// Names the replica after `last` to send a probe, if there is any.
fn half_open(now_ms: u64, backoff_ms: u64, last: Option<Origin>, probers: &Probers) -> Option<State> {
    let prober = probers.next_after(last)?;
    Some(State::HalfOpen { until_ms: now_ms.saturating_add(NAMED_MS), backoff_ms, prober: Some(prober) })
}

fn withdrawn(now_ms: u64, backoff_ms: u64, prober: Option<Origin>) -> State {
    State::Probed { until_ms: now_ms.saturating_add(WITHDRAWN_MS), backoff_ms, prober }
}

fn open(now_ms: u64, backoff_ms: u64) -> State {
    State::Open { until_ms: now_ms.saturating_add(backoff_ms), backoff_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probers(replicas: u64) -> Probers {
        Probers::new((1..=replicas).map(|origin| (Origin(origin), true)))
    }

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
        assert_eq!(Circuit::Closed, breaker.circuit(0, &probers(1)));
        assert_eq!(Circuit::Open, opened_at(7).circuit(7, &probers(1)));
    }

    #[test]
    fn successful_probe_closes_the_circuit_and_failed_probe_doubles_the_backoff() {
        let mut breaker = opened_at(0);
        breaker.record_success();
        assert_eq!(Circuit::Open, breaker.circuit(FIRST_BACKOFF_MS - 1, &probers(1)));
        assert_eq!(Circuit::HalfOpen(Some(Origin(1))), breaker.circuit(FIRST_BACKOFF_MS, &probers(1)));
        breaker.record_failure(1_500);
        assert_eq!(Circuit::Open, breaker.circuit(1_500 + 2 * FIRST_BACKOFF_MS - 1, &probers(1)));
        assert_eq!(
            Circuit::HalfOpen(Some(Origin(1))),
            breaker.circuit(1_500 + 2 * FIRST_BACKOFF_MS, &probers(1))
        );
        breaker.record_success();
        assert_eq!(Circuit::Closed, breaker.circuit(4_000, &probers(1)));
    }

    #[test]
    fn backoff_is_bounded() {
        let mut breaker = opened_at(0);
        let mut now_ms = 0;
        for _ in 0..40 {
            now_ms += MAX_BACKOFF_MS;
            assert_eq!(Circuit::HalfOpen(Some(Origin(1))), breaker.circuit(now_ms, &probers(1)));
            breaker.record_failure(now_ms);
        }
    }

    #[test]
    fn replicas_take_turns_until_one_probes() {
        let mut breaker = opened_at(0);
        let mut named = Vec::new();
        for now_ms in (0..=6_000).step_by(100) {
            match breaker.circuit(now_ms, &probers(3)) {
                Circuit::HalfOpen(prober) => {
                    named.extend(prober.filter(|prober| named.last() != Some(prober)))
                }
                Circuit::Open => {}
                Circuit::Closed => panic!("nobody has probed"),
            }
        }
        assert_eq!([1, 2, 3, 1].map(Origin), named[..]);
        breaker.record_probe(6_000);
        for now_ms in (6_000..6_000 + PROBE_TIMEOUT_MS).step_by(100) {
            assert_eq!(Circuit::Open, breaker.circuit(now_ms, &probers(3)), "a probe is on its way");
        }
        let next = breaker.circuit(6_000 + PROBE_TIMEOUT_MS, &probers(3));
        assert_eq!(Circuit::HalfOpen(Some(Origin(2))), next);
    }

    #[test]
    fn probe_of_a_replica_that_was_named_before_counts() {
        let mut breaker = opened_at(0);
        assert_eq!(Circuit::HalfOpen(Some(Origin(1))), breaker.circuit(FIRST_BACKOFF_MS, &probers(2)));
        let withdrawn_ms = FIRST_BACKOFF_MS + NAMED_MS;
        assert_eq!(Circuit::Open, breaker.circuit(withdrawn_ms, &probers(2)));
        breaker.record_probe(withdrawn_ms + WITHDRAWN_MS - 1);
        assert_eq!(Circuit::Open, breaker.circuit(withdrawn_ms + WITHDRAWN_MS, &probers(2)));
        breaker.record_success();
        assert!(breaker.is_closed());
    }

    #[test]
    fn replica_that_is_gone_is_not_waited_for() {
        let mut breaker = opened_at(0);
        assert_eq!(Circuit::HalfOpen(Some(Origin(1))), breaker.circuit(FIRST_BACKOFF_MS, &probers(1)));
        let others = Probers::new([(Origin(2), false), (Origin(3), true)]);
        assert_eq!(Circuit::Open, breaker.circuit(FIRST_BACKOFF_MS + 1, &others));
        let later = breaker.circuit(FIRST_BACKOFF_MS + 1 + WITHDRAWN_MS, &others);
        assert_eq!(Circuit::HalfOpen(Some(Origin(3))), later, "the one that has requests to send");
    }

    #[test]
    fn nobody_is_named_while_there_is_no_replica() {
        let mut breaker = opened_at(0);
        assert_eq!(Circuit::Open, breaker.circuit(60_000, &Probers::default()));
        assert_eq!(Circuit::HalfOpen(Some(Origin(1))), breaker.circuit(60_001, &probers(1)));
    }

    #[test]
    fn later_owner_waits_for_the_probe_of_the_earlier_one() {
        let mut breaker = CircuitBreaker::from_circuit(Circuit::Open, 0);
        assert_eq!(Circuit::Open, breaker.circuit(PROBE_TIMEOUT_MS - 1, &probers(1)));
        assert_eq!(Circuit::HalfOpen(Some(Origin(1))), breaker.circuit(PROBE_TIMEOUT_MS, &probers(1)));
        let mut named = CircuitBreaker::from_circuit(Circuit::HalfOpen(Some(Origin(1))), 0);
        assert_eq!(Circuit::Open, named.circuit(WITHDRAWN_MS - 1, &probers(2)));
        assert_eq!(Circuit::HalfOpen(Some(Origin(2))), named.circuit(WITHDRAWN_MS, &probers(2)));
    }
}
