//! Decides whether and when a supervisor restarts a failed child. Pure: time and jitter are parameters.

use std::collections::VecDeque;
use std::time::Duration;

use ractor::{ActorCell, SupervisionEvent};

use crate::backoff::BackoffPolicy;

/// How often, and how quickly, one child may be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within the last `within` after which the supervisor gives up; [`u32::MAX`] means never.
    pub max_restarts: u32,
    /// How long a failure counts.
    pub within: Duration,
    /// Delay before a restart, by the number of failures that count.
    pub backoff: BackoffPolicy,
}

/// What to do about a child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start it again after this delay.
    RestartAfter(Duration),
    /// It fails too often: the supervisor escalates.
    GiveUp,
}

/// Counts the failures of one child and applies its restart policy.
#[derive(Clone, Debug)]
pub struct RestartTracker {
    policy: RestartPolicy,
    failures: VecDeque<Duration>,
}

impl RestartTracker {
    /// Creates the tracker of a child that has not failed yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new() }
    }

    /// Records a failure at `now`, measured from any fixed moment, and returns what to do. `jitter` is as in
    /// [`BackoffPolicy::delay`].
    pub fn on_failure(&mut self, now: Duration, jitter: f64) -> RestartDecision {
        while self.failures.front().is_some_and(|then| now.saturating_sub(*then) >= self.policy.within) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let failures = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if self.policy.max_restarts < failures {
            return RestartDecision::GiveUp;
        }
        RestartDecision::RestartAfter(self.policy.backoff.delay(failures, jitter))
    }
}

/// How a child ended.
#[derive(Debug)]
pub enum ChildExit {
    /// It was stopped, or stopped itself.
    Stopped {
        /// The child.
        child: ActorCell,
        /// The reason, if one was given.
        reason: Option<String>,
    },
    /// It panicked or returned an error.
    Failed {
        /// The child.
        child: ActorCell,
        /// Message of the panic or the error.
        error: String,
    },
}

/// Returns how a child ended if `event` reports that.
pub fn child_exit(event: SupervisionEvent) -> Option<ChildExit> {
    match event {
        SupervisionEvent::ActorTerminated(child, _, reason) => Some(ChildExit::Stopped { child, reason }),
        SupervisionEvent::ActorFailed(child, error) => {
            Some(ChildExit::Failed { child, error: error.to_string() })
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

    fn fail(tracker: &mut RestartTracker, at_ms: u64) -> RestartDecision {
        tracker.on_failure(Duration::from_millis(at_ms), 0.0)
    }

    fn after(delay_ms: u64) -> RestartDecision {
        RestartDecision::RestartAfter(Duration::from_millis(delay_ms))
    }

    #[test]
    fn too_many_failures_in_a_row_lead_to_giving_up() {
        let mut tracker = RestartTracker::new(POLICY);
        let decisions: Vec<_> = [0, 1, 2, 3].map(|at_ms| fail(&mut tracker, at_ms)).into();
        assert_eq!(decisions, [after(100), after(200), after(300), RestartDecision::GiveUp]);
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut tracker = RestartTracker::new(POLICY);
        let decisions: Vec<_> = [0, 9_999, 10_000, 20_001].map(|at_ms| fail(&mut tracker, at_ms)).into();
        assert_eq!(decisions, [after(100), after(200), after(200), after(100)]);
    }

    proptest! {
        #[test]
        fn restarts_within_the_window_never_exceed_the_limit(pauses_ms in vec(0..6_000u64, 0..60)) {
            let mut tracker = RestartTracker::new(POLICY);
            let mut granted_ms = Vec::new();
            let mut now_ms = 0;
            for pause_ms in pauses_ms {
                now_ms += pause_ms;
                if fail(&mut tracker, now_ms) != RestartDecision::GiveUp {
                    granted_ms.push(now_ms);
                }
                let recent = granted_ms.iter().filter(|at_ms| now_ms - **at_ms < 10_000).count();
                prop_assert!(recent <= 3);
            }
        }
    }
}
