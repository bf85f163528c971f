//! The status of all processes at one moment, and the checks of it.

use anyhow::{bail, ensure};
use signalbox_integration::GatewayReplica;

use super::process_status::{AggregatorStatus, CollectorStatus, PodStatus, ReplicaStatus, StateSummary};
use super::reading::Reading;
use crate::process_id::ProcessId;

/// More bookings than this are a negative number that wrapped around.
const MAX_PLAUSIBLE_BOOKINGS: f64 = 1e6;

/// The status of all processes, by index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterStatus {
    pub(crate) replicas: Vec<Reading<ReplicaStatus>>,
    pub(crate) aggregators: Vec<Reading<AggregatorStatus>>,
    pub(crate) collectors: Vec<Reading<CollectorStatus>>,
    /// What Envoy knows about each replica.
    pub(crate) gateway: Reading<Vec<GatewayReplica>>,
    /// The first pod.
    pub(crate) pod: Reading<PodStatus>,
}

impl ClusterStatus {
    /// Returns the aggregator that owns the pool.
    ///
    /// # Errors
    /// Fails unless exactly one aggregator is known to be the owner.
    pub(crate) fn owner(&self) -> anyhow::Result<usize> {
        let owners = self.owners();
        let [owner] = owners[..] else { bail!("expected one owner, but the owners are {owners:?}") };
        Ok(owner)
    }

    /// Returns the aggregators that are known to own the pool.
    pub(crate) fn owners(&self) -> Vec<usize> {
        let owners = self.known_aggregators().filter(|(_, aggregator)| aggregator.owner > 0.0);
        owners.map(|(index, _)| index).collect()
    }

    /// Returns the epoch of an aggregator.
    ///
    /// # Errors
    /// Fails when it is not known.
    pub(crate) fn epoch(&self, aggregator: usize) -> anyhow::Result<f64> {
        Ok(self.aggregators[aggregator].require(ProcessId::Aggregator(aggregator))?.state.epoch)
    }

    /// Returns the aggregator that owns the pool, and its epoch.
    ///
    /// # Errors
    /// Fails unless exactly one aggregator is known to be the owner.
    pub(crate) fn owner_and_epoch(&self) -> anyhow::Result<(usize, f64)> {
        let owner = self.owner()?;
        Ok((owner, self.epoch(owner)?))
    }

    /// Checks that all processes respond, follow one owner, and see all pods.
    ///
    /// # Errors
    /// Fails with the first violation, or the first value that is not known.
    pub(crate) fn check_healthy(&self, pods: usize) -> anyhow::Result<()> {
        for (index, aggregator) in self.aggregators.iter().enumerate() {
            aggregator.require(ProcessId::Aggregator(index))?;
        }
        let (_, epoch) = self.owner_and_epoch()?;
        for (index, replica) in self.replicas.iter().enumerate() {
            let id = ProcessId::Replica(index);
            let ReplicaStatus { degraded, pods: known, fresh_pods, state, aggregators, .. } =
                replica.require(id)?;
            ensure!(*degraded == 0.0, "{id} is degraded");
            ensure!(state.epoch == epoch, "{id} is at epoch {}, the owner at {epoch}", state.epoch);
            ensure!(*known == pods as f64, "{id} knows {known} pods, not {pods}");
            ensure!(*fresh_pods == pods as f64, "{id} has fresh values of {fresh_pods} of {pods} pods");
            let all = self.aggregators.len();
            ensure!(*aggregators == all as f64, "{id} has streams of {aggregators} of {all} aggregators");
        }
        let mut assigned = 0.0;
        for (index, collector) in self.collectors.iter().enumerate() {
            let collector = collector.require(ProcessId::Collector(index))?;
            assigned += collector.endpoints.unwrap_or(0.0);
        }
        ensure!(assigned == pods as f64, "the collectors scrape {assigned} endpoints of {pods} pods");
        let gateway = self.gateway.require(ProcessId::Envoy)?;
        let unhealthy: Vec<usize> = (0..gateway.len()).filter(|index| !gateway[*index].is_healthy).collect();
        ensure!(unhealthy.is_empty(), "Envoy considers the replicas {unhealthy:?} unhealthy");
        Ok(())
    }

    /// Checks that nothing is booked and that all processes have the same state.
    ///
    /// # Errors
    /// Fails with the first violation, or the first value that is not known.
    pub(crate) fn check_at_rest(&self) -> anyhow::Result<()> {
        let mut states: Vec<(ProcessId, &StateSummary)> = Vec::new();
        for (index, replica) in self.replicas.iter().enumerate() {
            let id = ProcessId::Replica(index);
            let ReplicaStatus { own_bookings, peer_bookings, unacknowledged_placements, state, .. } =
                replica.require(id)?;
            ensure!(
                *own_bookings == 0.0 && *peer_bookings == 0.0,
                "{id} has {own_bookings} own bookings and {peer_bookings} of its peers"
            );
            ensure!(
                *unacknowledged_placements == 0.0,
                "{id} has {unacknowledged_placements} unacknowledged placements"
            );
            states.push((id, state));
        }
        for (index, aggregator) in self.aggregators.iter().enumerate() {
            let id = ProcessId::Aggregator(index);
            let AggregatorStatus { bookings, state, .. } = aggregator.require(id)?;
            ensure!(*bookings == 0.0, "{id} has {bookings} bookings");
            states.push((id, state));
        }
        let Some((first, expected)) = states.first() else { bail!("there are no processes") };
        for (id, state) in &states {
            ensure!(state == expected, "{id} has {state:?}, but {first} has {expected:?}");
        }
        Ok(())
    }

    /// Returns impossible numbers of bookings, and replicas that diverged.
    pub(crate) fn impossible_values(&self) -> Vec<String> {
        let diverged = self.known_replicas().filter(|(_, replica)| replica.divergences > 0.0);
        let diverged = diverged.map(|(index, _)| {
            format!("{} diverged from the owner at the same version", ProcessId::Replica(index))
        });
        let replicas = self.known_replicas().flat_map(|(index, replica)| {
            [replica.own_bookings, replica.peer_bookings]
                .map(|bookings| (ProcessId::Replica(index), bookings))
        });
        let aggregators = self
            .known_aggregators()
            .map(|(index, aggregator)| (ProcessId::Aggregator(index), aggregator.bookings));
        let wrong = replicas
            .chain(aggregators)
            .filter(|(_, bookings)| !(0.0..MAX_PLAUSIBLE_BOOKINGS).contains(bookings));
        wrong.map(|(id, bookings)| format!("{id} had {bookings} bookings")).chain(diverged).collect()
    }

    /// Returns how many snapshots replicas applied after `before`. A restarted replica counts only those
    /// beyond its earlier number.
    pub(crate) fn snapshots_since(&self, before: &Self) -> u64 {
        let pairs = self.replicas.iter().zip(&before.replicas);
        let pairs = pairs.filter_map(|(now, then)| Some((now.known()?, then.known()?)));
        pairs.map(|(now, then)| (now.snapshots - then.snapshots).max(0.0) as u64).sum()
    }

    /// Returns the replicas whose values are known, with their index.
    pub(crate) fn known_replicas(&self) -> impl Iterator<Item = (usize, &ReplicaStatus)> {
        let replicas = self.replicas.iter().enumerate();
        replicas.filter_map(|(index, replica)| Some((index, replica.known()?)))
    }

    /// Returns the aggregators whose values are known, with their index.
    pub(crate) fn known_aggregators(&self) -> impl Iterator<Item = (usize, &AggregatorStatus)> {
        let aggregators = self.aggregators.iter().enumerate();
        aggregators.filter_map(|(index, aggregator)| Some((index, aggregator.known()?)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use signalbox_integration::GatewayReplica;

    use super::ClusterStatus;
    use crate::observation::process_status::{
        AggregatorStatus, CollectorStatus, PodStatus, ReplicaStatus, StateSummary,
    };
    use crate::observation::reading::Reading;

    /// Returns the status of a healthy cluster at rest: two replicas, two aggregators of which the second is the
    /// owner, two collectors with four pods each.
    pub(crate) fn good() -> ClusterStatus {
        let state =
            StateSummary { epoch: 7.0, seq: 9.0, digests: [("load".to_owned(), 5.0)].into_iter().collect() };
        let replica = ReplicaStatus {
            state: state.clone(),
            pods: 8.0,
            fresh_pods: 8.0,
            aggregators: 2.0,
            ..ReplicaStatus::default()
        };
        let standby = AggregatorStatus { state, ..AggregatorStatus::default() };
        let owner = AggregatorStatus { owner: 1.0, ..standby.clone() };
        let collector = Reading::Known(CollectorStatus { endpoints: Some(4.0) });
        ClusterStatus {
            replicas: vec![Reading::Known(replica.clone()), Reading::Known(replica)],
            aggregators: vec![Reading::Known(standby), Reading::Known(owner)],
            collectors: vec![collector.clone(), collector],
            gateway: Reading::Known(vec![GatewayReplica { is_healthy: true, open_streams: 0 }; 2]),
            pod: Reading::Known(PodStatus::default()),
        }
    }

    /// Returns [`good`] with a change to the second replica.
    pub(crate) fn with_replica(change: impl Fn(&mut ReplicaStatus)) -> ClusterStatus {
        let mut status = good();
        if let Reading::Known(replica) = &mut status.replicas[1] {
            change(replica);
        }
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
        let mut unhealthy_in_envoy = good();
        unhealthy_in_envoy.gateway =
            Reading::Known(vec![GatewayReplica { is_healthy: false, open_streams: 0 }; 2]);
        let mut unassigned = good();
        unassigned.collectors[0] = Reading::Known(CollectorStatus { endpoints: None });
        let unhealthy = [
            (two_owners, "owners"),
            (unhealthy_in_envoy, "Envoy"),
            (unassigned, "4 endpoints of 8 pods"),
            (with_replica(|replica| replica.degraded = 1.0), "degraded"),
            (with_replica(|replica| replica.state.epoch = 6.0), "epoch 6"),
            (with_replica(|replica| replica.pods = 10.0), "knows 10 pods, not 8"),
            (with_replica(|replica| replica.fresh_pods = 7.0), "7 of 8"),
            (with_replica(|replica| replica.aggregators = 1.0), "1 of 2 aggregators"),
        ];
        for (status, expected) in unhealthy {
            let error = status.check_healthy(8).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn unknown_values_are_neither_healthy_nor_at_rest() {
        type Forget = fn(&mut ClusterStatus);
        let of_services: [Forget; 2] = [
            |status| status.replicas[0] = Reading::Silent,
            |status| status.aggregators[0] = Reading::Incomplete("no metric".to_owned()),
        ];
        let of_others: [Forget; 2] =
            [|status| status.collectors[1] = Reading::Silent, |status| status.gateway = Reading::Silent];
        for forget in of_services.iter().chain(&of_others) {
            let mut status = good();
            forget(&mut status);
            status.check_healthy(8).unwrap_err();
        }
        for forget in of_services {
            let mut status = good();
            forget(&mut status);
            status.check_at_rest().unwrap_err();
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

    #[test]
    fn snapshots_are_compared_replica_by_replica() {
        let mut before = with_replica(|replica| replica.snapshots = 5.0);
        before.replicas[0] = Reading::Silent;
        let after = with_replica(|replica| replica.snapshots = 6.0);
        assert_eq!(after.snapshots_since(&before), 1);
    }
}
