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
            Effect::ReconnectedAtRestarts(Group::Aggregators, Group::Replicas),
            Effect::ReconnectedAtRestarts(Group::Collectors, Group::Aggregators),
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
mod tests;
