//! Parses the metrics of all processes at one moment and checks them.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use signalbox_integration::MetricsPage;

use crate::process_id::ProcessId;

/// More bookings than this are a negative number that wrapped around.
const MAX_PLAUSIBLE_BOOKINGS: f64 = 1e6;

/// The version and the digests of a process's pool state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StateSummary {
    pub(crate) epoch: f64,
    pub(crate) seq: f64,
    /// One digest per kind of change.
    pub(crate) digests: BTreeMap<String, f64>,
}

/// The metrics of an EPP replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ReplicaStatus {
    pub(crate) state: StateSummary,
    pub(crate) degraded: f64,
    pub(crate) own_bookings: f64,
    pub(crate) peer_bookings: f64,
    pub(crate) unacknowledged_placements: f64,
    pub(crate) fresh_pods: f64,
    /// Snapshots that replaced the view, since the start of the process.
    pub(crate) snapshots: f64,
    /// Divergences since the start of the process.
    pub(crate) divergences: f64,
}

/// The metrics of an aggregator.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AggregatorStatus {
    pub(crate) state: StateSummary,
    /// 1 if it owns the pool.
    pub(crate) owner: f64,
    pub(crate) bookings: f64,
}

/// The status of all processes, by index; `None` for a process that does not respond.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClusterStatus {
    pub(crate) replicas: Vec<Option<ReplicaStatus>>,
    pub(crate) aggregators: Vec<Option<AggregatorStatus>>,
    /// The number of replicas that Envoy considers healthy.
    pub(crate) healthy_replicas: usize,
}

impl ReplicaStatus {
    pub(crate) fn from_page(page: &MetricsPage) -> Self {
        let value = |name: &str| page.sum(&format!("signalbox_epp_{name}")).unwrap_or(0.0);
        let digests = page.by_label("signalbox_epp_view_digest", "kind");
        Self {
            state: StateSummary { epoch: value("view_epoch"), seq: value("view_seq"), digests },
            degraded: value("degraded"),
            own_bookings: value("own_in_flight_requests"),
            peer_bookings: value("peer_in_flight_requests"),
            unacknowledged_placements: value("unacknowledged_placements"),
            fresh_pods: value("fresh_endpoints"),
            snapshots: value("snapshots_applied_total"),
            divergences: value("divergences_total"),
        }
    }
}

impl AggregatorStatus {
    pub(crate) fn from_page(page: &MetricsPage) -> Self {
        let value = |name: &str| page.sum(&format!("signalbox_aggregator_{name}")).unwrap_or(0.0);
        let digests = page.by_label("signalbox_aggregator_state_digest", "kind");
        Self {
            state: StateSummary { epoch: value("epoch"), seq: value("seq"), digests },
            owner: value("owner"),
            bookings: value("in_flight_requests"),
        }
    }
}

impl ClusterStatus {
    /// Returns the aggregator that owns the pool.
    ///
    /// # Errors
    /// Fails unless there is exactly one owner.
    pub(crate) fn owner(&self) -> anyhow::Result<usize> {
        let owners = self.aggregators.iter().enumerate();
        let owners: Vec<usize> = owners
            .filter(|(_, aggregator)| aggregator.as_ref().is_some_and(|aggregator| aggregator.owner > 0.0))
            .map(|(index, _)| index)
            .collect();
        let [owner] = owners[..] else { bail!("expected one owner, but the owners are {owners:?}") };
        Ok(owner)
    }

    /// Checks that all processes respond, follow one owner, and see all pods.
    ///
    /// # Errors
    /// Fails with the first violation.
    pub(crate) fn check_healthy(&self, pods: usize) -> anyhow::Result<()> {
        for (index, aggregator) in self.aggregators.iter().enumerate() {
            ensure!(aggregator.is_some(), "{} does not respond", ProcessId::Aggregator(index));
        }
        let owner = self.owner()?;
        let epoch = self.aggregators[owner].as_ref().map_or(0.0, |owner| owner.state.epoch);
        for (index, replica) in self.replicas.iter().enumerate() {
            let id = ProcessId::Replica(index);
            let replica = replica.as_ref().with_context(|| format!("{id} does not respond"))?;
            let ReplicaStatus { degraded, fresh_pods, state, .. } = replica;
            ensure!(*degraded == 0.0, "{id} is degraded");
            ensure!(state.epoch == epoch, "{id} is at epoch {}, the owner at {epoch}", state.epoch);
            ensure!(*fresh_pods == pods as f64, "{id} has fresh values of {fresh_pods} of {pods} pods");
        }
        let (healthy, all) = (self.healthy_replicas, self.replicas.len());
        ensure!(healthy == all, "Envoy considers {healthy} of {all} replicas healthy");
        Ok(())
    }

    /// Checks that nothing is booked and that all processes have the same state.
    ///
    /// # Errors
    /// Fails with the first violation.
    pub(crate) fn check_at_rest(&self) -> anyhow::Result<()> {
        for (id, replica) in self.replicas() {
            let ReplicaStatus { own_bookings, peer_bookings, unacknowledged_placements, .. } = replica;
            ensure!(
                *own_bookings == 0.0 && *peer_bookings == 0.0,
                "{id} has {own_bookings} own bookings and {peer_bookings} of its peers"
            );
            ensure!(
                *unacknowledged_placements == 0.0,
                "{id} has {unacknowledged_placements} unacknowledged placements"
            );
        }
        for (id, aggregator) in self.aggregators() {
            ensure!(aggregator.bookings == 0.0, "{id} has {} bookings", aggregator.bookings);
        }
        let mut states = self.states();
        let (first, expected) = states.next().context("no process responds")?;
        ensure!(!expected.digests.is_empty(), "{first} has no digests");
        for (id, state) in states {
            ensure!(state == expected, "{id} has {state:?}, but {first} has {expected:?}");
        }
        Ok(())
    }

    /// Returns impossible numbers of bookings, and replicas that diverged.
    pub(crate) fn impossible_values(&self) -> Vec<String> {
        let diverged = self.replicas().filter(|(_, replica)| replica.divergences > 0.0);
        let diverged = diverged.map(|(id, _)| format!("{id} diverged from the owner at the same version"));
        let replicas = self
            .replicas()
            .flat_map(|(id, replica)| [(id, replica.own_bookings), (id, replica.peer_bookings)]);
        let aggregators = self.aggregators().map(|(id, aggregator)| (id, aggregator.bookings));
        let wrong = replicas
            .chain(aggregators)
            .filter(|(_, bookings)| !(0.0..MAX_PLAUSIBLE_BOOKINGS).contains(bookings));
        wrong.map(|(id, bookings)| format!("{id} had {bookings} bookings")).chain(diverged).collect()
    }

    /// Returns how many snapshots replicas applied after `before`. A restarted replica counts only those
    /// beyond its earlier number.
    pub(crate) fn snapshots_since(&self, before: &Self) -> u64 {
        let pairs = self.replicas.iter().flatten().zip(before.replicas.iter().flatten());
        pairs.map(|(now, then)| (now.snapshots - then.snapshots).max(0.0) as u64).sum()
    }

    fn replicas(&self) -> impl Iterator<Item = (ProcessId, &ReplicaStatus)> {
        let replicas = self.replicas.iter().enumerate();
        replicas.filter_map(|(index, replica)| Some((ProcessId::Replica(index), replica.as_ref()?)))
    }

    fn aggregators(&self) -> impl Iterator<Item = (ProcessId, &AggregatorStatus)> {
        let aggregators = self.aggregators.iter().enumerate();
        aggregators
            .filter_map(|(index, aggregator)| Some((ProcessId::Aggregator(index), aggregator.as_ref()?)))
    }

    fn states(&self) -> impl Iterator<Item = (ProcessId, &StateSummary)> {
        let aggregators = self.aggregators().map(|(id, aggregator)| (id, &aggregator.state));
        aggregators.chain(self.replicas().map(|(id, replica)| (id, &replica.state)))
    }
}

#[cfg(test)]
mod tests {
    use super::{AggregatorStatus, ClusterStatus, ReplicaStatus, StateSummary};

    fn good() -> ClusterStatus {
        let state =
            StateSummary { epoch: 7.0, seq: 9.0, digests: [("load".to_owned(), 5.0)].into_iter().collect() };
        let replica = ReplicaStatus { state: state.clone(), fresh_pods: 8.0, ..ReplicaStatus::default() };
        let standby = AggregatorStatus { state, ..AggregatorStatus::default() };
        let owner = AggregatorStatus { owner: 1.0, ..standby.clone() };
        ClusterStatus {
            replicas: vec![Some(replica.clone()), Some(replica)],
            aggregators: vec![Some(standby), Some(owner)],
            healthy_replicas: 2,
        }
    }

    fn with_replica(change: impl Fn(&mut ReplicaStatus)) -> ClusterStatus {
        let mut status = good();
        status.replicas[1].iter_mut().for_each(change);
        status
    }

    #[test]
    fn good_status_passes_all_checks() {
        good().check_healthy(8).unwrap();
        good().check_at_rest().unwrap();
        assert_eq!((good().owner().unwrap(), good().impossible_values().len()), (1, 0));
    }

    #[test]
    fn unhealthy_status_is_explained() {
        let mut two_owners = good();
        two_owners.aggregators[0] = two_owners.aggregators[1].clone();
        let mut down = good();
        down.replicas[0] = None;
        let unhealthy_in_envoy = ClusterStatus { healthy_replicas: 1, ..good() };
        let unhealthy = [
            (two_owners, "owners"),
            (down, "epp-0 does not respond"),
            (unhealthy_in_envoy, "Envoy"),
            (with_replica(|replica| replica.degraded = 1.0), "degraded"),
            (with_replica(|replica| replica.state.epoch = 6.0), "epoch 6"),
            (with_replica(|replica| replica.fresh_pods = 7.0), "7 of 8"),
        ];
        for (status, expected) in unhealthy {
            let error = status.check_healthy(8).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn leftovers_and_differences_are_explained() {
        let not_at_rest = [
            (with_replica(|replica| replica.own_bookings = 1.0), "1 own bookings"),
            (with_replica(|replica| replica.unacknowledged_placements = 1.0), "unacknowledged"),
            (with_replica(|replica| replica.state.seq = 8.0), "epp-1 has"),
            (with_replica(|replica| replica.state.digests.clear()), "epp-1 has"),
        ];
        for (status, expected) in not_at_rest {
            let error = status.check_at_rest().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for bookings in [-1.0, 1.8e19] {
            let status = with_replica(|replica| replica.peer_bookings = bookings);
            assert_eq!(status.impossible_values().len(), 1);
        }
        assert_eq!(with_replica(|replica| replica.divergences = 1.0).impossible_values().len(), 1);
    }
}
