//! Identifies the processes of a chaos test.

use std::fmt;

/// A process of a chaos test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessId {
    /// An aggregator.
    Aggregator(usize),
    /// An EPP replica.
    Replica(usize),
    /// A collector.
    Collector(usize),
    /// The coordinator.
    Etcd,
    /// The gateway. No fault hits it.
    Envoy,
    /// The first model server.
    Pod,
}

impl fmt::Display for ProcessId {
    /// Writes the value of the process's `--name` flag.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregator(index) => write!(formatter, "aggregator-{index}"),
            Self::Replica(index) => write!(formatter, "epp-{index}"),
            Self::Collector(index) => write!(formatter, "collector-{index}"),
            Self::Etcd => write!(formatter, "etcd"),
            Self::Envoy => write!(formatter, "Envoy"),
            Self::Pod => write!(formatter, "the first pod"),
        }
    }
}
