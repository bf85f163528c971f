//! Decides when each request is sent. Pure: the time since the start is a parameter.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How requests are paced.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pacing {
    /// Closed loop: a new request for each response.
    Closed { concurrency: u64 },
    /// Open loop: at random times (exponential gaps), independent of responses. A limit on requests in flight
    /// delays requests.
    Poisson { per_second: f64, limit: Option<u64> },
    /// All requests of a wave at once. The next wave follows a pause after the last response.
    Waves { size: u64, pause: Duration },
    /// Each request at its offset from the start, independent of responses.
    Trace { offsets: Arc<[Duration]> },
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send a request that was due at this time after the start.
    Send { due: Duration },
    /// Call again at this time after the start, or after the next response.
    WaitUntil(Duration),
    /// Call again after the next response.
    WaitForResponse,
    /// All requests are sent.
    Done,
}

/// The schedule of a run.
#[derive(Debug)]
pub(super) struct Schedule {
    pacing: Pacing,
    remaining: u64,
    sent: u64,
    due: Duration,
    rng: SmallRng,
}

impl Schedule {
    /// Creates a schedule for `requests` requests.
    pub(super) fn new(pacing: Pacing, requests: u64, seed: u64) -> Self {
        Self { pacing, remaining: requests, sent: 0, due: Duration::ZERO, rng: SmallRng::seed_from_u64(seed) }
    }

    /// Returns what to do at `now` with `in_flight` requests unanswered. A returned [`Next::Send`] counts as
    /// sent.
    pub(super) fn next(&mut self, now: Duration, in_flight: u64) -> Next {
        if self.remaining == 0 {
            return Next::Done;
        }
        match &self.pacing {
            Pacing::Closed { concurrency } if in_flight >= *concurrency => Next::WaitForResponse,
            Pacing::Closed { .. } => self.send(now),
            Pacing::Poisson { limit: Some(limit), .. } if in_flight >= *limit => Next::WaitForResponse,
            Pacing::Poisson { .. } if now < self.due => Next::WaitUntil(self.due),
            Pacing::Poisson { per_second, .. } => {
                let due = self.due;
                // Inverse of the exponential distribution; 1 - u is in (0, 1].
                let gap = -(1.0 - self.rng.random::<f64>()).ln() / per_second;
                self.due += Duration::from_secs_f64(gap.min(1e9));
                self.send(due)
            }
            Pacing::Waves { size, pause } => self.wave(*size, *pause, now, in_flight),
            Pacing::Trace { offsets } => match offsets.get(self.sent as usize) {
                Some(due) if now < *due => Next::WaitUntil(*due),
                Some(due) => self.send(*due),
                None => Next::Done,
            },
        }
    }

    fn wave(&mut self, size: u64, pause: Duration, now: Duration, in_flight: u64) -> Next {
        if self.sent == 0 || !self.sent.is_multiple_of(size) {
            // Within a wave. `due` is computed again when the wave is answered.
            self.due = Duration::MAX;
            return self.send(now);
        }
        if in_flight > 0 {
            return Next::WaitForResponse;
        }
        if self.due == Duration::MAX {
            self.due = now + pause;
        }
        if now < self.due {
            return Next::WaitUntil(self.due);
        }
        self.due = Duration::MAX;
        self.send(now)
    }

    fn send(&mut self, due: Duration) -> Next {
        self.remaining -= 1;
        self.sent += 1;
        Next::Send { due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn closed_loop_keeps_its_concurrency() {
        let mut schedule = Schedule::new(Pacing::Closed { concurrency: 2 }, 3, 1);
        assert_eq!(schedule.next(Duration::ZERO, 0), Next::Send { due: Duration::ZERO });
        assert_eq!(schedule.next(Duration::ZERO, 1), Next::Send { due: Duration::ZERO });
        assert_eq!(schedule.next(Duration::ZERO, 2), Next::WaitForResponse);
        assert_eq!(schedule.next(SECOND, 1), Next::Send { due: SECOND });
        assert_eq!(schedule.next(SECOND, 2), Next::Done);
    }

    #[test]
    fn a_wave_waits_for_the_previous_one_and_a_pause() {
        let mut schedule = Schedule::new(Pacing::Waves { size: 2, pause: SECOND }, 3, 1);
        assert!(matches!(schedule.next(Duration::ZERO, 0), Next::Send { .. }));
        assert!(matches!(schedule.next(Duration::ZERO, 1), Next::Send { .. }));
        assert_eq!(schedule.next(SECOND, 1), Next::WaitForResponse);
        assert_eq!(schedule.next(SECOND, 0), Next::WaitUntil(2 * SECOND));
        assert_eq!(schedule.next(2 * SECOND, 0), Next::Send { due: 2 * SECOND });
        assert_eq!(schedule.next(2 * SECOND, 1), Next::Done);
    }

    #[test]
    fn a_delayed_request_keeps_its_due_time() {
        let mut schedule = Schedule::new(Pacing::Poisson { per_second: 1_000.0, limit: Some(1) }, 2, 1);
        assert_eq!(schedule.next(Duration::ZERO, 0), Next::Send { due: Duration::ZERO });
        let Next::WaitUntil(due) = schedule.next(Duration::ZERO, 0) else { panic!("expected a wait") };
        assert_eq!(schedule.next(SECOND, 1), Next::WaitForResponse);
        assert_eq!(schedule.next(SECOND, 0), Next::Send { due });
    }

    #[test]
    fn a_trace_is_sent_at_its_offsets_independent_of_responses() {
        let offsets = [Duration::ZERO, SECOND, SECOND].into();
        let mut schedule = Schedule::new(Pacing::Trace { offsets }, 4, 1);
        assert_eq!(schedule.next(Duration::ZERO, 0), Next::Send { due: Duration::ZERO });
        assert_eq!(schedule.next(Duration::ZERO, 1), Next::WaitUntil(SECOND));
        assert_eq!(schedule.next(2 * SECOND, 1), Next::Send { due: SECOND });
        assert_eq!(schedule.next(2 * SECOND, 2), Next::Send { due: SECOND });
        assert_eq!(schedule.next(2 * SECOND, 3), Next::Done);
    }

    proptest! {
        #[test]
        fn poisson_meets_the_rate_on_average(seed: u64, per_second in 0.5_f64..500.0) {
            let pacing = Pacing::Poisson { per_second, limit: None };
            let mut schedule = Schedule::new(pacing, 4_000, seed);
            let mut last = Duration::ZERO;
            while let Next::Send { due } = schedule.next(Duration::MAX, 0) {
                prop_assert!(due >= last);
                last = due;
            }
            let measurement = 4_000.0 / last.as_secs_f64();
            prop_assert!((measurement / per_second - 1.0).abs() < 0.15, "{measurement} for {per_second}");
        }

        #[test]
        fn every_pacing_sends_each_request_once(requests in 1_u64..200, size in 1_u64..40, kind in 0..3) {
            let pacing = match kind {
                0 => Pacing::Closed { concurrency: size },
                1 => Pacing::Poisson { per_second: 10.0, limit: Some(size) },
                _ => Pacing::Waves { size, pause: SECOND },
            };
            let (mut schedule, mut now, mut in_flight, mut sent) =
                (Schedule::new(pacing, requests, 1), Duration::ZERO, 0, 0);
            loop {
                match schedule.next(now, in_flight) {
                    Next::Send { due } => {
                        prop_assert!(due <= now);
                        (in_flight, sent) = (in_flight + 1, sent + 1);
                        prop_assert!(in_flight <= size);
                    }
                    Next::WaitUntil(then) => {
                        prop_assert!(then > now);
                        now = then;
                    }
                    Next::WaitForResponse => in_flight -= 1,
                    Next::Done => break,
                }
            }
            prop_assert_eq!(sent, requests);
        }
    }
}
