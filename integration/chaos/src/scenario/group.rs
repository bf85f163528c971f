//! Maps groups of processes, such as the owner or all standbys, to processes.

use std::fmt;

use crate::process_id::ProcessId;

/// A group of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One EPP replica.
    Replica,
    /// The first half of the replicas, rounded down.
    FirstReplicas,
    /// The other replicas.
    OtherReplicas,
    /// All replicas.
    Replicas,
    /// The aggregator that owns the pool when the row starts.
    Owner,
    /// One aggregator that does not own the pool.
    Standby,
    /// All aggregators that do not own the pool.
    Standbys,
    /// All aggregators.
    Aggregators,
    /// One collector.
    Collector,
    /// All collectors.
    Collectors,
    /// The coordinator.
    Etcd,
    /// All processes except Envoy and the pods: etcd, collectors, standbys, the owner, replicas.
    Everything,
    /// One model server. No fault hits its process.
    Pod,
    /// The model servers. No fault hits their processes.
    Pods,
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Replica => "replica",
            Self::FirstReplicas => "first-replicas",
            Self::OtherReplicas => "other-replicas",
            Self::Replicas => "replicas",
            Self::Owner => "owner",
            Self::Standby => "standby",
            Self::Standbys => "standbys",
            Self::Aggregators => "all-aggregators",
            Self::Collector => "collector",
            Self::Collectors => "collectors",
            Self::Etcd => "etcd",
            Self::Everything => "everything",
            Self::Pod => "pod",
            Self::Pods => "pods",
        })
    }
}

/// The number of processes of each kind, and the aggregator that owns the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) aggregators: usize,
    pub(crate) replicas: usize,
    pub(crate) collectors: usize,
    pub(crate) owner: usize,
}

impl Topology {
    /// Returns the processes of a group.
    pub(crate) fn members(self, group: Group) -> Vec<ProcessId> {
        let aggregators = || (0..self.aggregators).map(ProcessId::Aggregator);
        let standbys = || aggregators().filter(|process| *process != ProcessId::Aggregator(self.owner));
        let collectors = || (0..self.collectors).map(ProcessId::Collector);
        let replicas = |from, to| (from..to).map(ProcessId::Replica);
        let (half, all) = (self.replicas / 2, self.replicas);
        match group {
            Group::Replica => replicas(0, 1).collect(),
            Group::FirstReplicas => replicas(0, half).collect(),
            Group::OtherReplicas => replicas(half, all).collect(),
            Group::Replicas => replicas(0, all).collect(),
            Group::Owner => vec![ProcessId::Aggregator(self.owner)],
            Group::Standby => standbys().take(1).collect(),
            Group::Standbys => standbys().collect(),
            Group::Aggregators => aggregators().collect(),
            Group::Collector => collectors().take(1).collect(),
            Group::Collectors => collectors().collect(),
            Group::Etcd => vec![ProcessId::Etcd],
            Group::Everything => {
                let aggregators = standbys().chain([ProcessId::Aggregator(self.owner)]);
                [ProcessId::Etcd]
                    .into_iter()
                    .chain(collectors())
                    .chain(aggregators)
                    .chain(replicas(0, all))
                    .collect()
            }
            Group::Pod | Group::Pods => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, Topology};
    use crate::process_id::ProcessId;

    const TOPOLOGY: Topology = Topology { aggregators: 3, replicas: 3, collectors: 2, owner: 1 };

    #[test]
    fn groups_have_the_expected_members() {
        assert_eq!(TOPOLOGY.members(Group::Owner), [ProcessId::Aggregator(1)]);
        assert_eq!(TOPOLOGY.members(Group::Standby), [ProcessId::Aggregator(0)]);
        let standbys = [ProcessId::Aggregator(0), ProcessId::Aggregator(2)];
        assert_eq!(TOPOLOGY.members(Group::Standbys), standbys);
        assert_eq!(TOPOLOGY.members(Group::FirstReplicas), [ProcessId::Replica(0)]);
        let others = [ProcessId::Replica(1), ProcessId::Replica(2)];
        assert_eq!(TOPOLOGY.members(Group::OtherReplicas), others);
        assert_eq!(TOPOLOGY.members(Group::Everything).len(), 9);
    }
}
