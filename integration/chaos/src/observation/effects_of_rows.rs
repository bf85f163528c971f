//! Lists which effects the fault of each row must have.

use super::effect::{Effect, Evidence};
use crate::scenario::{DRAINED_SHARE, Fault, Group, Mode, Row, Topology};

/// Looks for all effects of the row's fault. Returns what was seen of each, and what was missing.
pub(crate) fn check_effects(row: &Row, seen: &Evidence<'_>) -> (Vec<String>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for effect in effects(row, seen.topology) {
        match effect.find(seen) {
            Ok(evidence) => found.push(evidence),
            Err(why) => missing.push(format!("the fault had no effect: {why}")),
        }
    }
    (found, missing)
}

/// Returns the effects that the fault of a row must have.
fn effects(row: &Row, topology: Topology) -> Vec<Effect> {
    match row.target {
        Group::Replica | Group::FirstReplicas | Group::OtherReplicas | Group::Replicas => of_replicas(row),
        Group::Owner | Group::Standby | Group::Standbys | Group::Aggregators => of_aggregators(row, topology),
        Group::Collector | Group::Collectors => vec![Effect::EndpointsMoved {
            from: row.target,
            // The values of a paused collector are as old as its silence when the owner notices it.
            always_fresh: row.fault != Fault::Pause,
        }],
        Group::Etcd => vec![Effect::CoordinatorLost],
        Group::Everything => vec![
            Effect::NewOwner(Group::Aggregators),
            Effect::FoundUnhealthy(Group::Replicas),
            Effect::StreamsOfAggregators(topology.aggregators - 1),
            Effect::CoordinatorLost,
        ],
        Group::Pod => vec![Effect::Probed],
        Group::Pods => vec![Effect::FewerPods(row.pods - row.pods / DRAINED_SHARE)],
    }
}

fn of_replicas(row: &Row) -> Vec<Effect> {
    let mut effects = vec![Effect::FoundUnhealthy(row.target)];
    match row.fault {
        // In request-only mode, streams are too short to be seen.
        Fault::Terminate if row.mode == Mode::Default => effects.push(Effect::StreamsLeft(row.target)),
        Fault::Kill => effects.push(Effect::OriginExpired),
        Fault::Pause => effects.extend([Effect::OriginExpired, Effect::OriginRenewed(row.target)]),
        _ => {}
    }
    effects
}

fn of_aggregators(row: &Row, topology: Topology) -> Vec<Effect> {
    let target = row.target;
    let left = topology.aggregators - topology.members(target).len();
    let held_back = |peers: Group| Effect::HeldBack(target, peers);
    match row.fault {
        Fault::Cut => vec![
            Effect::Degraded(Group::Replicas),
            held_back(Group::Replicas),
            Effect::Reconnected(Group::Replicas, target),
        ],
        Fault::Partition => vec![
            Effect::SecondOwner,
            held_back(Group::Etcd),
            held_back(Group::Standbys),
            held_back(Group::OtherReplicas),
            Effect::HeldBack(Group::Standbys, Group::FirstReplicas),
        ],
        Fault::Lose => {
            let peers = [Group::Etcd, Group::Standbys, Group::Replicas, Group::Collectors];
            let cut = peers.into_iter().map(held_back);
            cut.chain([Effect::NewOwner(target), Effect::StreamsOfAggregators(left)]).collect()
        }
        _ if matches!(target, Group::Standby | Group::Standbys) => {
            vec![Effect::StreamsOfAggregators(left), Effect::Reconnected(Group::Replicas, target)]
        }
        _ => vec![
            Effect::NewOwner(target),
            Effect::StreamsOfAggregators(left),
            Effect::Reconnected(Group::Replicas, target),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_integration::GatewayReplica;

    use super::{check_effects, effects};
    use crate::cluster::TrafficCounts;
    use crate::observation::cluster_status::ClusterStatus;
    use crate::observation::cluster_status::tests::good;
    use crate::observation::coordinator_outages::{CoordinatorOutages, Outages};
    use crate::observation::effect::Evidence;
    use crate::observation::history::tests::history;
    use crate::observation::process_status::{CollectorStatus, ReplicaStatus};
    use crate::observation::reading::Reading;
    use crate::process_id::ProcessId;
    use crate::scenario::{ALL, Row, Topology};

    /// The topology of [`good`].
    const TOPOLOGY: Topology = Topology { aggregators: 2, replicas: 2, collectors: 2, owner: 1 };

    fn row(name: &str) -> Row {
        *ALL.iter().find(|row| row.to_string() == name).unwrap()
    }

    /// Returns [`good`] with a change to all replicas.
    fn with_replicas(change: impl Fn(&mut ReplicaStatus)) -> ClusterStatus {
        let mut status = good();
        for replica in &mut status.replicas {
            if let Reading::Known(replica) = replica {
                change(replica);
            }
        }
        status
    }

    fn with_aggregators(
        change: impl Fn(usize, &mut super::super::process_status::AggregatorStatus),
    ) -> ClusterStatus {
        let mut status = good();
        for (index, aggregator) in status.aggregators.iter_mut().enumerate() {
            if let Reading::Known(aggregator) = aggregator {
                change(index, aggregator);
            }
        }
        status
    }

    fn with_streams(is_healthy: bool, open_streams: u64) -> ClusterStatus {
        let mut status = good();
        status.gateway = Reading::Known(vec![GatewayReplica { is_healthy, open_streams }; 2]);
        status
    }

    fn with_endpoints(of_each: [Option<f64>; 2], fresh: f64) -> ClusterStatus {
        let mut status = with_replicas(|replica| replica.fresh_pods = fresh);
        status.collectors = of_each.map(|endpoints| Reading::Known(CollectorStatus { endpoints })).to_vec();
        status
    }

    fn everything_between(opened: u64, held_back: u64) -> TrafficCounts {
        let mut counts = TrafficCounts::default();
        let all: Vec<ProcessId> = TOPOLOGY.members(crate::scenario::Group::Everything);
        for one in &all {
            for other in &all {
                let pair = counts.of_pair(*one, *other);
                (pair.opened, pair.held_back) = (opened, held_back);
            }
        }
        counts
    }

    /// Returns what is missing of the row's effects when `during` was seen in the middle of the fault.
    fn missing(name: &str, during: &[ClusterStatus], traffic: TrafficCounts) -> Vec<String> {
        let busy = with_streams(true, 3);
        let statuses = [busy].into_iter().chain(during.iter().cloned()).chain([good()]);
        let mut history = history(statuses);
        let is_later =
            |status: &ClusterStatus| status.known_aggregators().any(|(_, one)| one.state.epoch > 7.0);
        history.failover = during.iter().any(is_later).then_some(Duration::ZERO);
        let lost = traffic.between(ProcessId::Aggregator(0), ProcessId::Etcd).held_back as usize;
        let outages = [0, 1].map(|index| (ProcessId::Aggregator(index), Outages { lost, regained: lost }));
        let outages = CoordinatorOutages(outages.into_iter().collect());
        let seen =
            Evidence { topology: TOPOLOGY, pods: 8, history: &history, traffic, outages, failed_by_pod: 0 };
        check_effects(&row(name), &seen).1
    }

    #[test]
    fn every_row_has_an_effect_that_can_be_missing() {
        for row in ALL {
            assert!(!effects(row, TOPOLOGY).is_empty(), "{row}");
            assert!(!missing(&row.to_string(), &[good()], TrafficCounts::default()).is_empty(), "{row}");
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
            let missing = missing(&row.to_string(), std::slice::from_ref(&unknown), everything_between(1, 0));
            assert!(!missing.is_empty(), "{row}");
        }
    }

    #[test]
    fn faults_are_recognized_by_their_effects() {
        let all = || everything_between(1, 1);
        let alone = with_replicas(|replica| replica.aggregators = 1.0);
        let expired = with_aggregators(|_, aggregator| aggregator.origins_expired = 1.0);
        let renewed = with_replicas(|replica| replica.origin_renewals = 1.0);
        let taken_over = with_aggregators(|index, aggregator| {
            aggregator.owner = f64::from(u8::from(index == 0));
            aggregator.state.epoch = 8.0;
        });
        let two_owners = with_aggregators(|_, aggregator| aggregator.owner = 1.0);
        let gone = with_streams(false, 0);
        let cases = [
            ("terminate-replica", vec![gone.clone()]),
            ("kill-replica", vec![gone.clone(), expired.clone()]),
            ("pause-replica", vec![gone, expired, renewed]),
            ("kill-owner", vec![alone.clone(), taken_over.clone()]),
            ("lose-owner", vec![alone.clone(), taken_over]),
            ("kill-standby", vec![alone]),
            ("cut-owner", vec![with_replicas(|replica| replica.degraded = 1.0)]),
            ("partition-owner", vec![two_owners]),
            ("stop-etcd", vec![good()]),
            ("kill-collector", vec![with_endpoints([Some(4.0), Some(8.0)], 8.0)]),
            ("drain-pods", vec![with_replicas(|replica| replica.fresh_pods = 80.0)]),
        ];
        for (name, during) in cases {
            assert_eq!(missing(name, &during, all()), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn endpoints_must_move_and_stay_fresh() {
        let moved = with_endpoints([None, Some(8.0)], 8.0);
        let stale = with_endpoints([None, Some(8.0)], 7.0);
        let found = |name, during: &[ClusterStatus]| missing(name, during, TrafficCounts::default());
        assert!(
            found("pause-collector", &[stale.clone(), moved.clone()])[0].contains("fresh values of only 7")
        );
        assert!(found("crash-loop-collector", &[moved, stale])[0].contains("fresh values of only 7"));
        assert!(found("kill-collector", &[good()])[0].contains("never scraped all"));
    }
}
