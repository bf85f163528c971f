//! Supervision as data: what a supervisor does when a child ends.

use std::collections::VecDeque;
use std::time::Duration;

use ractor::{ActorCell, SupervisionEvent};

use crate::backoff::BackoffPolicy;

/// How often, and how fast, one child may be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within `within` after which the supervisor gives the child up; [`u32::MAX`]: never.
    pub max_restarts: u32,
    /// How long a failure counts.
    pub within: Duration,
    /// The delay before a restart, by the number of failures that count.
    pub backoff: BackoffPolicy,
}

/// What to do about a child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this long.
    RestartAfter(Duration),
    /// It fails too often: what is above must deal with it.
    GiveUp,
}

/// The failures of one child.
#[derive(Clone, Debug)]
pub struct Restarts {
    policy: RestartPolicy,
    failures: VecDeque<Duration>,
}

impl Restarts {
    /// A child that has not failed.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new() }
    }

    /// Judges a failure at `now`, which counts from any fixed moment. `jitter` as in [`BackoffPolicy::delay`].
    pub fn on_failure(&mut self, now: Duration, jitter: f64) -> Verdict {
        while self.failures.front().is_some_and(|then| now.saturating_sub(*then) >= self.policy.within) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let failures = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if self.policy.max_restarts < failures {
            return Verdict::GiveUp;
        }
        Verdict::RestartAfter(self.policy.backoff.delay(failures, jitter))
    }
}

/// A child that is no more.
#[derive(Debug)]
pub enum Ended {
    /// It was stopped, or stopped itself.
    Stopped {
        /// Which.
        child: ActorCell,
        /// Why, if that was said.
        reason: Option<String>,
    },
    /// It panicked or returned an error.
    Failed {
        /// Which.
        child: ActorCell,
        /// The panic's or the error's message.
        error: String,
    },
}

/// The end of a child that this event tells of, if it does.
pub fn ended(event: SupervisionEvent) -> Option<Ended> {
    match event {
        SupervisionEvent::ActorTerminated(child, _, reason) => Some(Ended::Stopped { child, reason }),
        SupervisionEvent::ActorFailed(child, error) => {
            Some(Ended::Failed { child, error: error.to_string() })
        }
        SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        max_restarts: 3,
        within: Duration::from_secs(10),
        backoff: BackoffPolicy { base: Duration::from_millis(100), cap: Duration::from_millis(300) },
    };

    fn judge(restarts: &mut Restarts, at_ms: u64) -> Verdict {
        restarts.on_failure(Duration::from_millis(at_ms), 0.0)
    }

    fn after(delay_ms: u64) -> Verdict {
        Verdict::RestartAfter(Duration::from_millis(delay_ms))
    }

    #[test]
    fn gives_up_after_too_many_failures_in_a_row() {
        let mut restarts = Restarts::new(POLICY);
        let verdicts: Vec<_> = [0, 1, 2, 3].map(|at_ms| judge(&mut restarts, at_ms)).into();
        assert_eq!(verdicts, [after(100), after(200), after(300), Verdict::GiveUp]);
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut restarts = Restarts::new(POLICY);
        let verdicts: Vec<_> = [0, 9_999, 10_000, 20_001].map(|at_ms| judge(&mut restarts, at_ms)).into();
        assert_eq!(verdicts, [after(100), after(200), after(200), after(100)]);
    }

    proptest! {
        #[test]
        fn never_more_restarts_within_the_window_than_allowed(pauses_ms in vec(0..6_000u64, 0..60)) {
            let mut restarts = Restarts::new(POLICY);
            let mut granted_ms = Vec::new();
            let mut now_ms = 0;
            for pause_ms in pauses_ms {
                now_ms += pause_ms;
                if judge(&mut restarts, now_ms) != Verdict::GiveUp {
                    granted_ms.push(now_ms);
                }
                let recent = granted_ms.iter().filter(|at_ms| now_ms - **at_ms < 10_000).count();
                prop_assert!(recent <= 3);
            }
        }
    }
}
