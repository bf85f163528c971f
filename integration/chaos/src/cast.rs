//! Who is who while a row is played.

use std::fmt;

/// A process that can be struck or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// An aggregator.
    Aggregator(usize),
    /// An EPP replica.
    Replica(usize),
    /// A collector.
    Collector(usize),
    /// The coordinator.
    Etcd,
}

impl fmt::Display for Who {
    /// The name that it is started with.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregator(index) => write!(formatter, "aggregator-{index}"),
            Self::Replica(index) => write!(formatter, "epp-{index}"),
            Self::Collector(index) => write!(formatter, "collector-{index}"),
            Self::Etcd => write!(formatter, "etcd"),
        }
    }
}

/// Processes by the part that they play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One EPP replica.
    Replica,
    /// The first half of them, rounded down.
    FirstReplicas,
    /// The others.
    OtherReplicas,
    /// All of them.
    Replicas,
    /// The aggregator that owns the pool when the row begins.
    Owner,
    /// One that does not.
    Standby,
    /// All that do not.
    Standbys,
    /// All of them.
    Aggregators,
    /// One collector.
    Collector,
    /// The coordinator.
    Etcd,
    /// All but Envoy and the pods: etcd, collectors, standbys, the owner, replicas.
    Everything,
    /// The model servers, which are never struck themselves.
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
            Self::Etcd => "etcd",
            Self::Everything => "everything",
            Self::Pods => "pods",
        })
    }
}

/// How many there are of each, and which aggregator owns the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) aggregators: usize,
    pub(crate) replicas: usize,
    pub(crate) collectors: usize,
    pub(crate) owner: usize,
}

impl Cast {
    /// The processes of a group.
    pub(crate) fn of(self, group: Group) -> Vec<Who> {
        let aggregators = || (0..self.aggregators).map(Who::Aggregator);
        let standbys = || aggregators().filter(|who| *who != Who::Aggregator(self.owner));
        let collectors = || (0..self.collectors).map(Who::Collector);
        let replicas = |from, to| (from..to).map(Who::Replica);
        let (half, all) = (self.replicas / 2, self.replicas);
        match group {
            Group::Replica => replicas(0, 1).collect(),
            Group::FirstReplicas => replicas(0, half).collect(),
            Group::OtherReplicas => replicas(half, all).collect(),
            Group::Replicas => replicas(0, all).collect(),
            Group::Owner => vec![Who::Aggregator(self.owner)],
            Group::Standby => standbys().take(1).collect(),
            Group::Standbys => standbys().collect(),
            Group::Aggregators => aggregators().collect(),
            Group::Collector => collectors().take(1).collect(),
            Group::Etcd => vec![Who::Etcd],
            Group::Everything => {
                let aggregators = standbys().chain([Who::Aggregator(self.owner)]);
                [Who::Etcd]
                    .into_iter()
                    .chain(collectors())
                    .chain(aggregators)
                    .chain(replicas(0, all))
                    .collect()
            }
            Group::Pods => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cast, Group, Who};

    const CAST: Cast = Cast { aggregators: 3, replicas: 3, collectors: 2, owner: 1 };

    #[test]
    fn groups_have_their_members() {
        assert_eq!(CAST.of(Group::Owner), [Who::Aggregator(1)]);
        assert_eq!(CAST.of(Group::Standby), [Who::Aggregator(0)]);
        assert_eq!(CAST.of(Group::Standbys), [Who::Aggregator(0), Who::Aggregator(2)]);
        assert_eq!(CAST.of(Group::FirstReplicas), [Who::Replica(0)]);
        assert_eq!(CAST.of(Group::OtherReplicas), [Who::Replica(1), Who::Replica(2)]);
        assert_eq!(CAST.of(Group::Everything).len(), 9);
    }
}
