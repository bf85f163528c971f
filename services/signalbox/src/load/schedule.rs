//! Decides when each request is sent. Pure: the time since the start is a parameter.

mod diurnal;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_workload::arrivals::pause_us;

use diurnal::Diurnal;

/// How requests are paced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pacing {
    /// Closed loop: a new request for each response.
    Closed { concurrency: u64 },
    /// Open loop: at random times (exponential gaps), independent of responses. A limit on requests in flight
    /// delays requests.
    Poisson { per_second: f64, limit: Option<u64> },
    /// Open loop at a rate that rises from a tenth of `peak_per_second` to it and falls again, once in `length`.
    Diurnal { peak_per_second: f64, length: Duration, limit: Option<u64> },
    /// All requests of a wave at once. The next wave follows a pause after the last response.
    Waves { size: u64, pause: Duration },
    /// Each request at its offset from the start, independent of responses.
    Trace { offsets: Arc<[Duration]> },
}

/// The end of a run. Without any, it goes on until it is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Number of requests to send.
    pub(crate) requests: Option<u64>,
    /// Time after the start from which on no request is due.
    pub(crate) after: Option<Duration>,
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
    end: End,
    sent: u64,
    due: Duration,
    rng: SmallRng,
}

impl Schedule {
    /// Creates a schedule.
    pub(super) fn new(pacing: Pacing, end: End, seed: u64) -> Self {
        Self { pacing, end, sent: 0, due: Duration::ZERO, rng: SmallRng::seed_from_u64(seed) }
    }

    /// Returns what to do at `now` with `in_flight` requests unanswered. A returned [`Next::Send`] counts as
    /// sent.
    pub(super) fn next(&mut self, now: Duration, in_flight: u64) -> Next {
        if self.end.requests.is_some_and(|requests| self.sent >= requests) {
            return Next::Done;
        }
        match &self.pacing {
            Pacing::Closed { .. } | Pacing::Waves { .. } if self.is_over(now) => Next::Done,
            Pacing::Closed { concurrency } if in_flight >= *concurrency => Next::WaitForResponse,
            Pacing::Closed { .. } => self.send(now),
            Pacing::Poisson { per_second, limit } => {
                let (per_second, limit) = (*per_second, *limit);
                self.open_loop(now, in_flight >= limit.unwrap_or(u64::MAX), |_, rng| {
                    Duration::from_secs_f64((pause_us(per_second, rng) / 1e6).min(1e9))
                })
            }
            Pacing::Diurnal { peak_per_second, length, limit } => {
                let (day, limit) = (Diurnal { peak_per_second: *peak_per_second, length: *length }, *limit);
                self.open_loop(now, in_flight >= limit.unwrap_or(u64::MAX), |due, rng| day.pause(due, rng))
            }
            Pacing::Waves { size, pause } => self.wave(*size, *pause, now, in_flight),
            Pacing::Trace { offsets } => match offsets.get(self.sent as usize) {
                Some(due) if self.is_over(*due) => Next::Done,
                Some(due) if now < *due => Next::WaitUntil(*due),
                Some(due) => self.send(*due),
                None => Next::Done,
            },
        }
    }

    /// Sends a request if it is due and not held up by the limit on requests in flight. `pause` draws the time from one
    /// request to the next.
    fn open_loop(
        &mut self,
        now: Duration,
        is_at_limit: bool,
        pause: impl FnOnce(Duration, &mut SmallRng) -> Duration,
    ) -> Next {
        let due = self.due;
        // Requests that the limit has held up until the end are not sent any more.
        if self.is_over(due) || is_at_limit && self.is_over(now) {
            return Next::Done;
        }
        if is_at_limit {
            return Next::WaitForResponse;
        }
        if now < due {
            return Next::WaitUntil(due);
        }
        self.due += pause(due, &mut self.rng);
        self.send(due)
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

    fn is_over(&self, due: Duration) -> bool {
        self.end.after.is_some_and(|after| due >= after)
    }

    fn send(&mut self, due: Duration) -> Next {
        self.sent += 1;
        Next::Send { due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn count(requests: u64) -> End {
        End { requests: Some(requests), after: None }
    }

    /// Returns when requests are due that are sent as soon as they are.
    fn due_times(mut schedule: Schedule) -> Vec<Duration> {
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        loop {
            match schedule.next(now, 0) {
                Next::Send { due } => times.push(due),
                Next::WaitUntil(then) => now = then,
                Next::WaitForResponse | Next::Done => return times,
            }
        }
    }

    #[test]
    fn no_request_is_due_after_the_end() {
        let end = End { requests: None, after: Some(10 * SECOND) };
        let poisson = due_times(Schedule::new(Pacing::Poisson { per_second: 20.0, limit: None }, end, 1));
        assert!((150..250).contains(&poisson.len()) && poisson.iter().all(|due| *due < 10 * SECOND));
        let offsets = [Duration::ZERO, SECOND, 11 * SECOND].into();
        assert_eq!(2, due_times(Schedule::new(Pacing::Trace { offsets }, end, 1)).len());
        let mut closed = Schedule::new(Pacing::Closed { concurrency: 9 }, end, 1);
        assert_eq!(Next::Send { due: 9 * SECOND }, closed.next(9 * SECOND, 0));
        assert_eq!(Next::Done, closed.next(10 * SECOND, 0));
        let mut held_up = Schedule::new(Pacing::Poisson { per_second: 1_000.0, limit: Some(1) }, end, 1);
        assert_eq!(Next::Send { due: Duration::ZERO }, held_up.next(Duration::ZERO, 0));
        assert_eq!(
            [Next::WaitForResponse, Next::Done],
            [held_up.next(SECOND, 1), held_up.next(10 * SECOND, 1)]
        );
    }

    #[test]
    fn closed_loop_keeps_its_concurrency() {
        let mut schedule = Schedule::new(Pacing::Closed { concurrency: 2 }, count(3), 1);
        assert_eq!(schedule.next(Duration::ZERO, 0), Next::Send { due: Duration::ZERO });
        assert_eq!(schedule.next(Duration::ZERO, 1), Next::Send { due: Duration::ZERO });
        assert_eq!(schedule.next(Duration::ZERO, 2), Next::WaitForResponse);
        assert_eq!(schedule.next(SECOND, 1), Next::Send { due: SECOND });
        assert_eq!(schedule.next(SECOND, 2), Next::Done);
    }

    #[test]
    fn a_wave_waits_for_the_previous_one_and_a_pause() {
        let mut schedule = Schedule::new(Pacing::Waves { size: 2, pause: SECOND }, count(3), 1);
        assert!(matches!(schedule.next(Duration::ZERO, 0), Next::Send { .. }));
        assert!(matches!(schedule.next(Duration::ZERO, 1), Next::Send { .. }));
        assert_eq!(schedule.next(SECOND, 1), Next::WaitForResponse);
        assert_eq!(schedule.next(SECOND, 0), Next::WaitUntil(2 * SECOND));
        assert_eq!(schedule.next(2 * SECOND, 0), Next::Send { due: 2 * SECOND });
        assert_eq!(schedule.next(2 * SECOND, 1), Next::Done);
    }

    #[test]
    fn a_delayed_request_keeps_its_due_time() {
        let mut schedule =
            Schedule::new(Pacing::Poisson { per_second: 1_000.0, limit: Some(1) }, count(2), 1);
        assert_eq!(schedule.next(Duration::ZERO, 0), Next::Send { due: Duration::ZERO });
        let Next::WaitUntil(due) = schedule.next(Duration::ZERO, 0) else { panic!("expected a wait") };
        assert_eq!(schedule.next(SECOND, 1), Next::WaitForResponse);
        assert_eq!(schedule.next(SECOND, 0), Next::Send { due });
    }

    #[test]
    fn a_trace_is_sent_at_its_offsets_independent_of_responses() {
        let offsets = [Duration::ZERO, SECOND, SECOND].into();
        let mut schedule = Schedule::new(Pacing::Trace { offsets }, count(4), 1);
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
            let mut schedule = Schedule::new(pacing, count(4_000), seed);
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
                (Schedule::new(pacing, count(requests), 1), Duration::ZERO, 0, 0);
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
