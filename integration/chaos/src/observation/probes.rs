//! Checks at the pod itself that an open circuit lets one probe through per round.

use std::time::{Duration, Instant};

use super::found::Found;
use super::history::History;

/// Failures in a row that open a circuit (`circuit_breaker.rs`).
const FAILURES_UNTIL_OPEN: usize = 5;

/// How long an open circuit lets nothing through. It doubles with each failed probe, unless a new owner starts
/// over.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// No failure for this long after those that open a circuit means that it is open: less than the backoff, because
/// two samples enclose the time of a failure.
const OPEN_AFTER: Duration = Duration::from_millis(600);

/// The number of failed probes that the fault must last for.
const PROBES: usize = 2;

/// A failed request at the pod: it failed between two moments.
#[derive(Clone, Copy, Debug)]
struct Failure {
    after: Instant,
    before: Instant,
}

/// Checks that the pod failed requests until its circuit opened, that then at most one request reached it per
/// round, and that the clients saw `failed` failures, all of this pod.
pub(super) fn check_probes(history: &History, failed: usize) -> Found {
    let failures = failures(history)?;
    if failures.len() != failed {
        return Err(format!("the pod failed {} requests, but clients saw {failed}", failures.len()));
    }
    let is_quiet = |pair: &[Failure]| {
        pair[1].after.checked_duration_since(pair[0].before).is_some_and(|quiet| quiet >= OPEN_AFTER)
    };
    let opened = failures
        .windows(2)
        .enumerate()
        .position(|(index, pair)| index + 1 >= FAILURES_UNTIL_OPEN && is_quiet(pair));
    let Some(opened) = opened else {
        return Err(format!("the pod failed {} requests, and its circuit did not open", failures.len()));
    };
    let probes = failures.len() - opened - 1;
    if probes < PROBES {
        return Err(format!("the pod got {probes} probes while it failed, not {PROBES} or more"));
    }
    let mut backoff = FIRST_BACKOFF;
    // The first pause began before the last failure arrived, which was already on its way.
    for pair in failures[opened + 1..].windows(2) {
        if history.failover.is_none() {
            backoff *= 2;
        }
        let pause = pair[1].before - pair[0].after;
        if pause < backoff {
            return Err(format!("two probes reached the pod within {pause:?}, in one round of {backoff:?}"));
        }
    }
    Ok(format!("the circuit opened after {} failures, and {probes} probes failed, one per round", opened + 1))
}

/// Returns the failed requests at the pod, in the order of time. Fails when the pod's counts were unknown for so long
/// that two of the failures in between can be probes of one round.
fn failures(history: &History) -> Result<Vec<Failure>, String> {
    let known = history.samples.iter().filter_map(|sample| Some((sample, sample.status.pod.known()?)));
    let known: Vec<_> = known.collect();
    let mut failures = Vec::new();
    for pair in known.windows(2) {
        let [(earlier, then), (later, now)] = [pair[0], pair[1]];
        if now.errors < then.errors {
            return Err("the pod's count of errors fell: it restarted".to_owned());
        }
        let failure = Failure { after: earlier.began, before: later.ended };
        let count = (now.errors - then.errors) as usize;
        let between = later.ended - earlier.began;
        if count > 0 && between >= FIRST_BACKOFF {
            return Err(format!(
                "nothing is known of the pod for {between:?} in which it failed {count} requests: too long to tell \
                 rounds of {FIRST_BACKOFF:?} apart; run the row on a less busy machine"
            ));
        }
        failures.extend(std::iter::repeat_n(failure, count));
    }
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::check_probes;
    use crate::observation::cluster_status::tests::good;
    use crate::observation::history::{History, Sample};
    use crate::observation::process_status::PodStatus;
    use crate::observation::reading::Reading;

    /// Returns a history in which requests fail at these times, in tenths of a second.
    fn failing_at(tenths: &[u64]) -> History {
        let start = Instant::now();
        let samples = (0..200).map(|tenth| {
            let at = start + Duration::from_millis(100 * tenth);
            let errors = tenths.iter().filter(|failed| **failed <= tenth).count() as f64;
            let mut status = good();
            status.pod = Reading::Known(PodStatus { errors, served: 0.0 });
            Sample { began: at, ended: at, status }
        });
        History { samples: samples.collect(), fault_began: Some((start, 7.0)), ..History::default() }
    }

    fn check(tenths: &[u64]) -> super::Found {
        check_probes(&failing_at(tenths), tenths.len())
    }

    #[test]
    fn one_probe_per_round_passes() {
        let found = check(&[1, 2, 3, 4, 5, 16, 37, 78]).unwrap();
        assert!(found.contains("after 5 failures, and 3 probes"), "{found}");
    }

    #[test]
    fn two_probes_in_a_round_are_found() {
        assert!(check(&[1, 2, 3, 4, 5, 16, 16, 37]).unwrap_err().contains("in one round"));
        assert!(check(&[1, 2, 3, 4, 5, 16, 30, 37]).unwrap_err().contains("in one round"));
    }

    #[test]
    fn failures_at_unknown_times_are_no_proof() {
        let mut history = failing_at(&[1, 2, 3, 4, 5, 16, 40, 41, 42, 80]);
        let known = check_probes(&history, 10).unwrap_err();
        assert!(known.contains("in one round"), "{known}");
        history.samples[39..75].iter_mut().for_each(|sample| sample.status.pod = Reading::Silent);
        let unknown = check_probes(&history, 10).unwrap_err();
        assert!(unknown.contains("nothing is known of the pod for 3.7s"), "{unknown}");
    }

    #[test]
    fn silence_without_failures_is_harmless() {
        let mut history = failing_at(&[1, 2, 3, 4, 5, 16, 37, 78]);
        history.samples[40..70].iter_mut().for_each(|sample| sample.status.pod = Reading::Silent);
        check_probes(&history, 8).unwrap();
    }

    #[test]
    fn circuit_must_open_and_be_probed() {
        let busy: Vec<u64> = (1..60).collect();
        assert!(check(&busy).unwrap_err().contains("did not open"));
        assert!(check(&[1, 2, 3, 4, 5, 16]).unwrap_err().contains("got 1 probes"));
        assert!(check_probes(&failing_at(&[1, 2]), 3).unwrap_err().contains("clients saw 3"));
    }
}
