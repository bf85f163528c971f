//! When claims may be tried again after failures. Pure: time and randomness are parameters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signalbox_actors::{Backoff, BackoffPolicy};
use signalbox_types::PoolId;

/// Delays while the API server does not answer.
const UNAVAILABLE: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(250), cap: Duration::from_secs(5) };

/// Delays while it refuses to write the Lease of a pool.
const REFUSED: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The API server did what it was asked, or another write was first.
    Answered,
    /// The API server does not do this for the pool.
    Refused,
    /// The API server did not answer, or asks to wait for at least this time.
    Unavailable(Duration),
}

/// The pauses in force. The first attempt is never delayed.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    server: Option<Pause>,
    pools: BTreeMap<PoolId, Pause>,
}

#[derive(Debug)]
struct Pause {
    backoff: Backoff,
    failed_at: Instant,
    until: Instant,
}

impl Pauses {
    /// Returns until when attempts for `pool` must wait; `None` if they need not.
    pub(super) fn until(&self, now: Instant, pool: &PoolId) -> Option<Instant> {
        let pauses = self.server.iter().chain(self.pools.get(pool));
        pauses.map(|pause| pause.until).max().filter(|until| *until > now)
    }

    /// Takes note of an attempt for `pool`. `jitter` is in `[0, 1)`.
    pub(super) fn record(
        &mut self,
        started: Instant,
        now: Instant,
        pool: &PoolId,
        outcome: Outcome,
        jitter: f64,
    ) {
        match outcome {
            Outcome::Unavailable(wait) => extend(&mut self.server, UNAVAILABLE, started, now, wait, jitter),
            Outcome::Answered => {
                self.server = None;
                self.pools.remove(pool);
            }
            Outcome::Refused => {
                self.server = None;
                let mut pause = self.pools.remove(pool);
                extend(&mut pause, REFUSED, started, now, Duration::ZERO, jitter);
                self.pools.extend(pause.map(|pause| (pool.clone(), pause)));
            }
        }
    }

    /// Takes note of a request that is no attempt. Such requests go on during a pause, so their failures do not make
    /// it longer, or no attempt would ever be due.
    pub(super) fn record_other(&mut self, now: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Answered | Outcome::Refused => self.server = None,
            Outcome::Unavailable(wait) if wait.is_zero() => {}
            Outcome::Unavailable(wait) => {
                let pause = self.server.get_or_insert_with(|| Pause::new(UNAVAILABLE, now));
                pause.until = pause.until.max(now + wait);
            }
        }
    }
}

impl Pause {
    fn new(policy: BackoffPolicy, now: Instant) -> Self {
        Self { backoff: Backoff::new(policy), failed_at: now, until: now }
    }
}

/// Begins or extends a pause. Attempts that failed together count once.
fn extend(
    pause: &mut Option<Pause>,
    policy: BackoffPolicy,
    started: Instant,
    now: Instant,
    wait: Duration,
    jitter: f64,
) {
    let pause = pause.get_or_insert_with(|| Pause::new(policy, started));
    if started >= pause.failed_at {
        pause.until = pause.until.max(now + pause.backoff.on_failure(jitter));
        pause.failed_at = now;
    }
    // The API server may ask for more patience than the delay.
    pause.until = pause.until.max(now + wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool(name: &str) -> PoolId {
        PoolId { namespace: "n".to_owned(), name: name.to_owned() }
    }

    /// The delays after failures of one attempt after the other.
    fn delays(outcome: Outcome, count: usize) -> Vec<u128> {
        let (mut pauses, mut now) = (Pauses::default(), Instant::now());
        let pool = pool("p");
        let delay = |_| {
            assert_eq!(None, pauses.until(now, &pool));
            let failed = now + SECOND;
            pauses.record(now, failed, &pool, outcome, 0.0);
            now = pauses.until(failed, &pool).unwrap();
            (now - failed).as_millis()
        };
        (0..count).map(delay).collect()
    }

    #[test]
    fn delays_grow() {
        let unavailable = Outcome::Unavailable(Duration::ZERO);
        assert_eq!([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000], delays(unavailable, 7)[..]);
        assert_eq!(
            [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
            delays(Outcome::Refused, 8)[..]
        );
    }

    #[test]
    fn the_server_is_obeyed() {
        let wait = Outcome::Unavailable(SECOND * 7);
        assert_eq!([7_000, 7_000], delays(wait, 2)[..]);
    }

    #[test]
    fn an_outage_concerns_all_pools_and_a_refusal_one() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let (a, b) = (pool("a"), pool("b"));
        let mut record = |pool, outcome| {
            pauses.record(start, start, pool, outcome, 0.0);
            [&a, &b].map(|pool| pauses.until(start, pool).is_some())
        };
        assert_eq!([true, false], record(&a, Outcome::Refused));
        assert_eq!([true, true], record(&b, Outcome::Unavailable(Duration::ZERO)));
        // Whoever gets an answer ends the outage for all.
        assert_eq!([true, false], record(&b, Outcome::Answered));
        assert_eq!([false, false], record(&a, Outcome::Answered));
    }

    #[test]
    fn attempts_that_fail_together_count_once() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let failed = start + SECOND;
        for number in 0..100 {
            let pool = pool(&number.to_string());
            pauses.record(start, failed, &pool, Outcome::Unavailable(Duration::ZERO), 0.0);
        }
        assert_eq!(Some(failed + SECOND / 4), pauses.until(failed, &pool("any")));
    }

    #[test]
    fn other_requests_end_an_outage_but_do_not_prolong_it() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let unavailable = Outcome::Unavailable(Duration::ZERO);
        pauses.record_other(start, unavailable);
        assert_eq!(None, pauses.until(start, &pool("p")));
        pauses.record(start, start, &pool("p"), unavailable, 0.0);
        pauses.record_other(start + SECOND / 5, unavailable);
        assert_eq!(Some(start + SECOND / 4), pauses.until(start, &pool("p")));
        // What the server asks for concerns everybody.
        pauses.record_other(start, Outcome::Unavailable(SECOND));
        assert_eq!(Some(start + SECOND), pauses.until(start, &pool("p")));
        pauses.record_other(start, Outcome::Answered);
        assert_eq!(None, pauses.until(start, &pool("p")));
    }
}
