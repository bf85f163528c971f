//! Tells failed requests that the fault must cause from those that nothing excuses.

use std::time::{Duration, Instant};

use signalbox_integration::RequestFailure;

use crate::scenario::{Fault, Mode, Row};
use crate::step_executor::ReplicaKill;

/// How long after the kill of a replica the responses that it was streaming break.
const BREAKS_WITHIN: Duration = Duration::from_secs(2);

/// The status with which a pod fails requests.
const FAILED_BY_POD: u16 = 500;

/// The failed requests of a row.
#[derive(Debug)]
pub(crate) struct Failures {
    /// Responses that broke because a killed replica was streaming them.
    pub(crate) cut: usize,
    /// Ext-proc streams through killed replicas: the most responses that the kills can break.
    pub(crate) carried: u64,
    /// Requests that failed because the first pod failed them.
    pub(crate) of_pod: usize,
    /// All others.
    pub(crate) unexpected: Vec<RequestFailure>,
}

impl Failures {
    /// Sorts the failures of a row by their cause.
    pub(crate) fn sort(failures: Vec<RequestFailure>, row: &Row, kills: &[ReplicaKill]) -> Self {
        let is_cut = |failure: &RequestFailure| row.mode == Mode::Default && is_cut(failure, kills);
        let (cut, rest) = failures.into_iter().partition::<Vec<_>, _>(is_cut);
        let is_of_pod = |failure: &RequestFailure| {
            row.fault == Fault::Fail && failure.status.is_some_and(|status| status.as_u16() == FAILED_BY_POD)
        };
        let (of_pod, unexpected) = rest.into_iter().partition::<Vec<_>, _>(is_of_pod);
        let carried = kills.iter().map(|kill| kill.carried).sum();
        Self { cut: cut.len(), carried, of_pod: of_pod.len(), unexpected }
    }

    /// Returns what is wrong with the broken responses.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { cut, carried, .. } = self;
        let is_possible = u64::try_from(*cut).is_ok_and(|cut| cut <= *carried);
        (!is_possible)
            .then(|| format!("{cut} responses broke, but the killed replicas carried {carried} streams"))
    }
}

/// Returns whether a killed replica can have been streaming the response.
fn is_cut(failure: &RequestFailure, kills: &[ReplicaKill]) -> bool {
    let follows =
        |kill: Instant| failure.at.checked_duration_since(kill).is_some_and(|after| after < BREAKS_WITHIN);
    failure.had_response() && kills.iter().any(|kill| follows(kill.at))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use signalbox_integration::{RequestFailure, StatusCode};

    use super::Failures;
    use crate::scenario::{ALL, Row};
    use crate::step_executor::ReplicaKill;

    const SOON: Duration = Duration::from_millis(100);

    fn row(name: &str) -> Row {
        *ALL.iter().find(|row| row.to_string() == name).unwrap()
    }

    fn failure(sent: Instant, status: Option<u16>, after: Duration) -> RequestFailure {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        RequestFailure { tier: None, status, sent, at: sent + after, why: String::new() }
    }

    #[test]
    fn kill_cuts_only_responses_that_had_started() {
        let at = Instant::now();
        let count = |name, status, after| {
            let kills = [ReplicaKill { at, carried: 1 }];
            let sorted = Failures::sort(vec![failure(at, status, after)], &row(name), &kills);
            (sorted.cut, sorted.unexpected.len())
        };
        assert_eq!(count("kill-replica", Some(200), SOON), (1, 0));
        assert_eq!(count("kill-replica", None, SOON), (0, 1));
        assert_eq!(count("kill-replica", Some(502), SOON), (0, 1));
        assert_eq!(count("kill-replica", Some(200), Duration::from_secs(5)), (0, 1));
        assert_eq!(count("kill-replica-request-only", Some(200), SOON), (0, 1));
    }

    #[test]
    fn no_more_responses_break_than_the_replica_carried() {
        let at = Instant::now();
        let problem = |carried| {
            let failures = vec![failure(at, Some(200), SOON), failure(at, Some(200), SOON)];
            Failures::sort(failures, &row("kill-replica"), &[ReplicaKill { at, carried }]).problem()
        };
        assert_eq!(problem(2), None);
        assert_eq!(problem(1).unwrap(), "2 responses broke, but the killed replicas carried 1 streams");
    }

    #[test]
    fn errors_of_the_pod_are_expected_only_when_it_fails() {
        let at = Instant::now();
        let sorted = |name| Failures::sort(vec![failure(at, Some(500), SOON)], &row(name), &[]);
        assert_eq!((sorted("fail-pod").of_pod, sorted("fail-pod").unexpected.len()), (1, 0));
        assert_eq!((sorted("kill-owner").of_pod, sorted("kill-owner").unexpected.len()), (0, 1));
    }
}
