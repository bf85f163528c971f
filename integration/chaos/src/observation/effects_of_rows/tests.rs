//! Tests that each effect of each row is recognized, and missed when it is absent.

use std::collections::BTreeMap;
use std::time::Duration;

use signalbox_integration::GatewayReplica;

use super::{check_effects, effects};
use crate::cluster::TrafficCounts;
use crate::observation::cluster_status::ClusterStatus;
use crate::observation::cluster_status::tests::good;
use crate::observation::coordinator_outages::{CoordinatorOutages, Outages};
use crate::observation::effect::{Effect, Evidence};
use crate::observation::endpoint_moves::tests::with_endpoints;
use crate::observation::history::tests::history;
use crate::observation::process_status::{AggregatorStatus, PodStatus, ReplicaStatus};
use crate::observation::reading::Reading;
use crate::process_id::ProcessId;
use crate::scenario::{ALL, Group, Row, Topology};

/// The topology of [`good`].
const TOPOLOGY: Topology = Topology { aggregators: 2, replicas: 2, collectors: 2, owner: 1 };

/// What a fault did, and nothing else.
#[derive(Default)]
struct Fault {
    during: Vec<ClusterStatus>,
    failover: Option<Duration>,
    traffic: TrafficCounts,
    restarts: BTreeMap<ProcessId, TrafficCounts>,
    outages: CoordinatorOutages,
    failed_by_pod: usize,
}

/// Returns the status before and after each fault: [`good`], with streams through all replicas, in a cluster
/// of `pods` pods.
fn usual(pods: usize) -> ClusterStatus {
    let gateway = Reading::Known(vec![GatewayReplica { is_healthy: true, open_streams: 3 }; 2]);
    let status = ClusterStatus { gateway, ..good() };
    with_replicas(status, |replica| (replica.pods, replica.fresh_pods) = (pods as f64, pods as f64))
}

fn with_replicas(mut status: ClusterStatus, change: impl Fn(&mut ReplicaStatus)) -> ClusterStatus {
    for replica in &mut status.replicas {
        if let Reading::Known(replica) = replica {
            change(replica);
        }
    }
    status
}

fn with_aggregators(
    mut status: ClusterStatus,
    change: impl Fn(usize, &mut AggregatorStatus),
) -> ClusterStatus {
    for (index, aggregator) in status.aggregators.iter_mut().enumerate() {
        if let Reading::Known(aggregator) = aggregator {
            change(index, aggregator);
        }
    }
    status
}

fn with_gateway(is_healthy: bool, open_streams: u64) -> ClusterStatus {
    let gateway = Reading::Known(vec![GatewayReplica { is_healthy, open_streams }; 2]);
    ClusterStatus { gateway, ..good() }
}

/// Returns statuses in which the pod fails five requests, and one more after each of two backoffs.
fn probed() -> impl Iterator<Item = ClusterStatus> {
    let counts = [(5.0, 11), (6.0, 21), (7.0, 1)];
    let with_errors = |errors| {
        let pod = Reading::Known(PodStatus { errors, served: 0.0 });
        ClusterStatus { pod, ..usual(8) }
    };
    counts.into_iter().flat_map(move |(errors, samples)| std::iter::repeat_n(with_errors(errors), samples))
}

impl Fault {
    /// Returns a fault with these effects.
    fn with(effects: impl IntoIterator<Item = Effect>, pods: usize) -> Self {
        let mut fault = Self::default();
        effects.into_iter().for_each(|effect| fault.add(effect, pods));
        fault
    }

    fn add(&mut self, effect: Effect, pods: usize) {
        let usual = usual(pods);
        let status = match effect {
            Effect::NewOwner(_) => {
                self.failover = Some(Duration::from_secs(1));
                with_aggregators(usual, |index, aggregator| {
                    aggregator.owner = f64::from(u8::from(index == 0));
                    aggregator.state.epoch = 8.0;
                })
            }
            Effect::SecondOwner => with_aggregators(usual, |_, aggregator| aggregator.owner = 1.0),
            Effect::FoundUnhealthy(_) => with_gateway(false, 3),
            Effect::StreamsLeft(_) => with_gateway(true, 0),
            Effect::OriginExpired => {
                with_aggregators(usual, |_, aggregator| aggregator.origins_expired = 1.0)
            }
            Effect::OriginRenewed(_) => with_replicas(usual, |replica| replica.origin_renewals = 1.0),
            Effect::Degraded(_) => with_replicas(usual, |replica| replica.degraded = 1.0),
            Effect::StreamsOfAggregators(most) => {
                with_replicas(usual, |replica| replica.aggregators = most as f64)
            }
            Effect::EndpointsMoved { .. } => {
                let gateway = usual.gateway;
                ClusterStatus { gateway, ..with_endpoints([None, Some(8.0)], 8.0) }
            }
            Effect::FewerPods(left) => with_replicas(usual, |replica| {
                (replica.pods, replica.fresh_pods) = (left as f64, left as f64);
            }),
            Effect::Probed => {
                self.failed_by_pod = 7;
                return self.during.extend(probed());
            }
            Effect::Reconnected(group, other) => {
                return for_each_pair(group, other, |one, other| {
                    self.traffic.of_pair(one, other).opened = 1;
                });
            }
            Effect::HeldBack(group, other) => {
                return for_each_pair(group, other, |one, other| {
                    self.traffic.of_pair(one, other).held_back = 1;
                });
            }
            Effect::ReconnectedAtRestarts(group, peers) => {
                return for_each_pair(group, peers, |one, peer| {
                    self.restarts.entry(one).or_default().of_pair(one, peer).opened = 1;
                });
            }
            Effect::CoordinatorLost => {
                let outages =
                    [0, 1].map(|index| (ProcessId::Aggregator(index), Outages { lost: 1, regained: 1 }));
                return self.outages.0.extend(outages);
            }
        };
        self.during.push(status);
    }

    /// Returns what is missing of the row's effects.
    fn missing(&self, row: &Row) -> Vec<String> {
        let (before, mut after) = (usual(row.pods), usual(row.pods));
        // The pod's counts only grow.
        after.pod = self.during.last().map_or(after.pod, |last| last.pod.clone());
        let mut history = history([before].into_iter().chain(self.during.iter().cloned()).chain([after]));
        history.failover = self.failover;
        let seen = Evidence {
            topology: TOPOLOGY,
            pods: row.pods,
            history: &history,
            traffic: self.traffic.clone(),
            outages: self.outages.clone(),
            restarts: self.restarts.clone(),
            failed_by_pod: self.failed_by_pod,
        };
        check_effects(row, &seen).1
    }
}

fn for_each_pair(group: Group, other: Group, mut change: impl FnMut(ProcessId, ProcessId)) {
    for one in TOPOLOGY.members(group) {
        TOPOLOGY.members(other).into_iter().for_each(|other| change(one, other));
    }
}

#[test]
fn faults_are_recognized_by_their_effects() {
    for row in ALL {
        let fault = Fault::with(effects(row, TOPOLOGY), row.pods);
        assert_eq!(fault.missing(row), Vec::<String>::new(), "{row}");
    }
}

#[test]
fn every_row_has_an_effect_that_can_be_missing() {
    for row in ALL {
        let effects = effects(row, TOPOLOGY);
        assert!(!effects.is_empty(), "{row}");
        for absent in &effects {
            let others = effects.iter().copied().filter(|effect| effect != absent);
            let missing = Fault::with(others, row.pods).missing(row);
            assert_eq!(missing.len(), 1, "{row} without {absent:?}: {missing:?}");
        }
    }
}

#[test]
fn unknown_values_prove_nothing() {
    let unknown = ClusterStatus {
        replicas: vec![Reading::Silent, Reading::Silent],
        aggregators: vec![Reading::Silent, Reading::Silent],
        collectors: vec![Reading::Silent, Reading::Silent],
        gateway: Reading::Silent,
        pod: Reading::Silent,
    };
    for row in ALL {
        for effect in effects(row, TOPOLOGY) {
            let mut fault = Fault::with([effect], row.pods);
            // What proxies and logs say does not come from the processes.
            if fault.during.is_empty() {
                continue;
            }
            fault.during.fill(unknown.clone());
            assert_eq!(fault.missing(row).len(), effects(row, TOPOLOGY).len(), "{row}: {effect:?}");
        }
    }
}

#[test]
fn rolling_restart_must_show_at_every_aggregator_and_collector() {
    let row = ALL.iter().find(|row| row.target == Group::Everything).unwrap();
    for id in [TOPOLOGY.members(Group::Aggregators), TOPOLOGY.members(Group::Collectors)].concat() {
        let mut fault = Fault::with(effects(row, TOPOLOGY), row.pods);
        fault.restarts.insert(id, TrafficCounts::default());
        let missing = fault.missing(row);
        assert!(missing.len() == 1 && missing[0].contains(&format!("at the restart of {id}")), "{missing:?}");
    }
}

#[test]
fn pods_must_be_removed_and_not_only_be_stale() {
    let row = ALL.iter().find(|row| row.target == Group::Pods).unwrap();
    let mut fault = Fault::default();
    for (pods, fresh) in [(100.0, 80.0), (80.0, 79.0)] {
        fault.during.push(with_replicas(usual(row.pods), |replica| {
            (replica.pods, replica.fresh_pods) = (pods, fresh);
        }));
    }
    assert_eq!(fault.missing(row).len(), 1);
}
