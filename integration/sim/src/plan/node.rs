//! Names the processes of a simulation.

use std::fmt;

/// A process, or the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The coordinator.
    Coordinator,
    /// An aggregator.
    Aggregator(usize),
    /// An EPP replica.
    Replica(usize),
    /// A collector.
    Collector(usize),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => write!(f, "the coordinator"),
            Self::Aggregator(at) => write!(f, "aggregator-{at}"),
            Self::Replica(at) => write!(f, "replica-{at}"),
            Self::Collector(at) => write!(f, "collector-{at}"),
        }
    }
}
