//! What a fault must do visibly. A fault without an effect tests nothing.

use std::collections::BTreeMap;

use crate::cluster::{PairTraffic, TrafficCounts};
use crate::process_id::ProcessId;
use crate::scenario::{Group, Topology};

use super::cluster_status::ClusterStatus;
use super::coordinator_outages::CoordinatorOutages;
use super::endpoint_moves::check_endpoints_moved;
use super::found::Found;
use super::history::History;
use super::probes::check_probes;
use super::process_status::ReplicaStatus;

/// What was seen of a fault.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) topology: Topology,
    pub(crate) pods: usize,
    pub(crate) history: &'a History,
    /// What the proxies did during the fault.
    pub(crate) traffic: TrafficCounts,
    pub(crate) outages: CoordinatorOutages,
    /// What the proxies did from each restart of a rolling restart until everything was healthy again.
    pub(crate) restarts: BTreeMap<ProcessId, TrafficCounts>,
    /// Requests that failed because the first pod failed them.
    pub(crate) failed_by_pod: usize,
}

/// An effect of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// An aggregator that the fault does not hit, or any if it hits all, owned the pool in a later epoch, and all
    /// replicas followed it.
    NewOwner(Group),
    /// Two aggregators owned the pool at the same time.
    SecondOwner,
    /// Envoy considered each of these replicas unhealthy.
    FoundUnhealthy(Group),
    /// Envoy had open streams through these replicas before, and none at some time during the fault.
    StreamsLeft(Group),
    /// The pool dropped an origin, and with it the bookings of a replica.
    OriginExpired,
    /// These replicas took new origins.
    OriginRenewed(Group),
    /// These replicas were degraded.
    Degraded(Group),
    /// Every replica had at most this many streams of aggregators at some time.
    StreamsOfAggregators(usize),
    /// Each of the first group opened a new connection to each of the second, or the reverse.
    Reconnected(Group, Group),
    /// A new connection to one of the second group was opened at the restart of each of the first, or the reverse.
    ReconnectedAtRestarts(Group, Group),
    /// Each pair of processes of these groups had something that the cut held back.
    HeldBack(Group, Group),
    /// While the fault lasted, the other collectors scraped all endpoints, and from then on, or all the time, all
    /// values stayed fresh.
    EndpointsMoved { from: Group, always_fresh: bool },
    /// Every aggregator noticed that it had no coordinator, and that it had one again.
    CoordinatorLost,
    /// Every replica knew more pods before, and exactly this many at some time, all with fresh values.
    FewerPods(usize),
    /// A circuit opened, at least two probes failed, never two in one round, and the client saw every failure.
    Probed,
}

impl Effect {
    /// Looks for the effect.
    pub(super) fn find(self, seen: &Evidence<'_>) -> Found {
        match self {
            Self::NewOwner(group) => seen.new_owner(group),
            Self::SecondOwner => seen.second_owner(),
            Self::FoundUnhealthy(group) => seen.found_unhealthy(group),
            Self::StreamsLeft(group) => seen.streams_left(group),
            Self::OriginExpired => seen.origin_expired(),
            Self::OriginRenewed(group) => {
                seen.every_replica(group, "took a new origin", |before, replica| {
                    replica.origin_renewals > before.origin_renewals
                })
            }
            Self::Degraded(group) => {
                seen.every_replica(group, "was degraded", |_, replica| replica.degraded > 0.0)
            }
            Self::StreamsOfAggregators(most) => {
                let what = format!("had streams of at most {most} aggregators");
                seen.every_replica(Group::Replicas, &what, |_, replica| replica.aggregators <= most as f64)
            }
            Self::Reconnected(group, other) => {
                seen.every_pair(group, other, "opened a connection", |traffic| traffic.opened)
            }
            Self::HeldBack(group, other) => {
                seen.every_pair(group, other, "was held back", |traffic| traffic.held_back)
            }
            Self::ReconnectedAtRestarts(group, peers) => seen.reconnected_at_restarts(group, peers),
            Self::EndpointsMoved { from, always_fresh } => {
                let hit = seen.topology.members(from);
                check_endpoints_moved(seen.history, &hit, seen.pods, always_fresh)
            }
            Self::CoordinatorLost => seen.coordinator_lost(),
            Self::FewerPods(pods) => {
                let what = format!("knew exactly {pods} pods after it had known more, all with fresh values");
                let pods = pods as f64;
                seen.every_replica(Group::Replicas, &what, |before, replica| {
                    before.pods > pods && replica.pods == pods && replica.fresh_pods == pods
                })
            }
            Self::Probed => check_probes(seen.history, seen.failed_by_pod),
        }
    }
}

impl Evidence<'_> {
    fn new_owner(&self, group: Group) -> Found {
        let hit = self.topology.members(group);
        let all_are_hit =
            (0..self.topology.aggregators).all(|index| hit.contains(&ProcessId::Aggregator(index)));
        let is_new = |status: &ClusterStatus| {
            let mut aggregators = status.known_aggregators();
            aggregators.find_map(|(index, aggregator)| {
                let id = ProcessId::Aggregator(index);
                let is_later = aggregator.owner > 0.0 && aggregator.state.epoch > self.history.epoch_before();
                (is_later && (all_are_hit || !hit.contains(&id))).then_some(id)
            })
        };
        let owner = self.history.since().find_map(is_new);
        match (owner, self.history.failover) {
            (Some(owner), Some(failover)) => Ok(format!(
                "{owner} owned the pool, and all replicas followed after {:.2} s",
                failover.as_secs_f64()
            )),
            (None, _) => {
                Err("no other aggregator reported that it owns the pool in a later epoch".to_owned())
            }
            (Some(owner), None) => Err(format!("{owner} owned the pool, but not all replicas followed it")),
        }
    }

    fn second_owner(&self) -> Found {
        let owners =
            self.history.since().map(|status| status.owners()).max_by_key(Vec::len).unwrap_or_default();
        if owners.len() < 2 {
            return Err(format!("at most the aggregators {owners:?} owned the pool at once, not two"));
        }
        Ok(format!("the aggregators {owners:?} owned the pool at once"))
    }

    fn found_unhealthy(&self, group: Group) -> Found {
        for index in self.replicas(group) {
            let is_unhealthy =
                |status: &ClusterStatus| status.gateway.known().is_some_and(|all| !all[index].is_healthy);
            if !self.history.since().any(is_unhealthy) {
                let id = ProcessId::Replica(index);
                return Err(format!("Envoy never considered {id} unhealthy"));
            }
        }
        Ok("Envoy considered the target unhealthy".to_owned())
    }

    fn streams_left(&self, group: Group) -> Found {
        let mut most = 0;
        for index in self.replicas(group) {
            let streams = |status: &ClusterStatus| Some(status.gateway.known()?[index].open_streams);
            let before = self.history.before().filter_map(streams).max().unwrap_or(0);
            let least = self.history.during().filter_map(streams).min();
            let id = ProcessId::Replica(index);
            if before == 0 {
                return Err(format!("Envoy had no stream through {id} before the fault"));
            }
            match least {
                Some(0) => {}
                Some(least) => return Err(format!("Envoy never had less than {least} streams through {id}")),
                None => return Err(format!("nothing is known of Envoy's streams through {id}")),
            }
            most += before;
        }
        Ok(format!("Envoy's streams through the target fell from {most} to 0"))
    }

    fn origin_expired(&self) -> Found {
        let expired =
            |status: &ClusterStatus, index: usize| Some(status.aggregators[index].known()?.origins_expired);
        let grew = (0..self.topology.aggregators).any(|index| {
            let before = self.history.before().filter_map(|status| expired(status, index)).last();
            let mut since = self.history.since().filter_map(|status| expired(status, index));
            before.is_some_and(|before| since.any(|now| now > before))
        });
        let missing = "signalbox_aggregator_origins_expired_total grew at no aggregator";
        if grew { Ok("the owner dropped the origin".to_owned()) } else { Err(missing.to_owned()) }
    }

    /// Checks that something was true of each replica of a group since the fault began. The condition gets the
    /// latest status before the fault, and a later one.
    fn every_replica(
        &self,
        group: Group,
        what: &str,
        is_true: impl Fn(&ReplicaStatus, &ReplicaStatus) -> bool,
    ) -> Found {
        for index in self.replicas(group) {
            let known = |status: &'_ ClusterStatus| status.replicas[index].known().cloned();
            let id = ProcessId::Replica(index);
            let Some(before) = self.history.before().filter_map(known).last() else {
                return Err(format!("nothing is known of {id} before the fault"));
            };
            if !self.history.since().filter_map(known).any(|now| is_true(&before, &now)) {
                return Err(format!("{id} never {what}"));
            }
        }
        let count = self.replicas(group).count();
        Ok(format!("each of {count} replicas {what}"))
    }

    fn every_pair(
        &self,
        group: Group,
        other: Group,
        what: &str,
        count: impl Fn(PairTraffic) -> u64,
    ) -> Found {
        let mut least = u64::MAX;
        for one in self.topology.members(group) {
            for other in self.topology.members(other) {
                let counted = count(self.traffic.between(one, other));
                if counted == 0 {
                    return Err(format!("nothing between {one} and {other} {what}"));
                }
                least = least.min(counted);
            }
        }
        Ok(format!("at least {least} between each of {group} and {other} {what}"))
    }

    fn reconnected_at_restarts(&self, group: Group, peers: Group) -> Found {
        for id in self.topology.members(group) {
            let Some(traffic) = self.restarts.get(&id) else { return Err(format!("{id} was not restarted")) };
            let mut peers_of = self.topology.members(peers).into_iter();
            if !peers_of.any(|peer| traffic.between(id, peer).opened > 0) {
                return Err(format!(
                    "no connection between {id} and {peers} was opened at the restart of {id}"
                ));
            }
        }
        Ok(format!("a connection with {peers} was opened at the restart of each of {group}"))
    }

    fn coordinator_lost(&self) -> Found {
        for index in 0..self.topology.aggregators {
            let id = ProcessId::Aggregator(index);
            let seen = self.outages.0.get(&id).copied().unwrap_or_default();
            if seen.lost == 0 || seen.regained == 0 {
                return Err(format!(
                    "the log of {id} says {} times that it cannot keep itself registered with etcd, and {} times \
                     that it is registered again; expected both",
                    seen.lost, seen.regained
                ));
            }
        }
        Ok("each aggregator logged that it lost etcd, and that it had it again".to_owned())
    }

    /// Returns the indices of the replicas in a group.
    fn replicas(&self, group: Group) -> impl Iterator<Item = usize> {
        self.topology.members(group).into_iter().filter_map(|id| match id {
            ProcessId::Replica(index) => Some(index),
            _ => None,
        })
    }
}
