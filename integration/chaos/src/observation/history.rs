//! What was observed during a row, as a series of samples.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::cluster_status::ClusterStatus;
use crate::process_id::ProcessId;

/// The status of all processes, read between two moments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) status: ClusterStatus,
}

/// All samples of a row, from the start of the load until nothing is booked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    pub(crate) samples: Vec<Sample>,
    /// When the fault began, and the owner's epoch then.
    pub(crate) fault_began: Option<(Instant, f64)>,
    pub(crate) fault_ended: Option<Instant>,
    /// The time from the start of the fault until all replicas that respond follow an owner with a higher
    /// epoch.
    pub(crate) failover: Option<Duration>,
}

impl History {
    /// Returns the samples from before the fault.
    pub(super) fn before(&self) -> impl Iterator<Item = &ClusterStatus> {
        let began = self.fault_began.map(|(began, _)| began);
        let before =
            self.samples.iter().filter(move |sample| began.is_some_and(|began| sample.ended <= began));
        before.map(|sample| &sample.status)
    }

    /// Returns the samples since the fault began, also those after its end.
    pub(super) fn since(&self) -> impl Iterator<Item = &ClusterStatus> {
        let began = self.fault_began.map(|(began, _)| began);
        let since =
            self.samples.iter().filter(move |sample| began.is_some_and(|began| sample.began >= began));
        since.map(|sample| &sample.status)
    }

    /// Returns the samples while the fault lasted.
    pub(super) fn during(&self) -> impl Iterator<Item = &ClusterStatus> {
        let (began, ended) = (self.fault_began.map(|(began, _)| began), self.fault_ended);
        let during = self.samples.iter().filter(move |sample| {
            began.is_some_and(|began| sample.began >= began)
                && ended.is_some_and(|ended| sample.ended <= ended)
        });
        during.map(|sample| &sample.status)
    }

    /// Returns the owner's epoch when the fault began.
    pub(super) fn epoch_before(&self) -> f64 {
        self.fault_began.map_or(f64::INFINITY, |(_, epoch)| epoch)
    }

    /// Returns values that are never possible, each once.
    pub(crate) fn impossible_values(&self) -> BTreeSet<String> {
        self.samples.iter().flat_map(|sample| sample.status.impossible_values()).collect()
    }

    /// Returns which numbers that must return to zero were never above it: for them, zero at the end of the row
    /// says nothing.
    pub(crate) fn never_above_zero(&self) -> Vec<String> {
        let mut peaks: BTreeMap<(ProcessId, &str), f64> = BTreeMap::new();
        let mut unacknowledged = 0.0;
        for Sample { status, .. } in &self.samples {
            let mut add = |id, what, value: f64| {
                let peak = peaks.entry((id, what)).or_default();
                *peak = peak.max(value);
            };
            for (index, replica) in status.known_replicas() {
                add(ProcessId::Replica(index), "own bookings", replica.own_bookings);
                add(ProcessId::Replica(index), "bookings of its peers", replica.peer_bookings);
                unacknowledged = f64::max(unacknowledged, replica.unacknowledged_placements);
            }
            for (index, aggregator) in status.known_aggregators() {
                add(ProcessId::Aggregator(index), "bookings", aggregator.bookings);
            }
        }
        let never = peaks.into_iter().filter(|(_, peak)| *peak <= 0.0);
        let never = never.map(|((id, what), _)| format!("{id} never had {what}"));
        let no_placement =
            (unacknowledged <= 0.0).then(|| "no replica ever had an unacknowledged placement".to_owned());
        never.chain(no_placement).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, Instant};

    use super::{History, Sample};
    use crate::observation::cluster_status::ClusterStatus;
    use crate::observation::cluster_status::tests::{good, with_replica};

    /// Returns the history of these statuses, ten per second. The fault lasts from the first to the last but one.
    pub(crate) fn history(statuses: impl IntoIterator<Item = ClusterStatus>) -> History {
        let start = Instant::now();
        let samples: Vec<Sample> = statuses
            .into_iter()
            .enumerate()
            .map(|(tenth, status)| {
                let at = start + Duration::from_millis(100 * tenth as u64);
                Sample { began: at, ended: at, status }
            })
            .collect();
        let ended = samples.iter().rev().nth(1).map(|sample| sample.ended);
        History { samples, fault_began: Some((start, 7.0)), fault_ended: ended, failover: None }
    }

    #[test]
    fn numbers_that_were_always_zero_are_reported() {
        let busy = with_replica(|replica| {
            replica.own_bookings = 1.0;
            replica.unacknowledged_placements = 1.0;
        });
        let never = history([good(), busy, good()]).never_above_zero();
        let expected = [
            "aggregator-0 never had bookings",
            "aggregator-1 never had bookings",
            "epp-0 never had bookings of its peers",
            "epp-0 never had own bookings",
            "epp-1 never had bookings of its peers",
        ];
        assert_eq!(never, expected);
        let never = history([good()]).never_above_zero();
        assert!(never.contains(&"no replica ever had an unacknowledged placement".to_owned()));
    }

    #[test]
    fn fault_divides_the_samples() {
        let mut history = history([good(), good(), good()]);
        let count =
            |history: &History| (history.before().count(), history.during().count(), history.since().count());
        assert_eq!(count(&history), (1, 2, 3));
        history.fault_began = None;
        assert_eq!(count(&history), (0, 0, 0));
    }
}
