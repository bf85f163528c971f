//! The processes that register with a coordinator.

use signalbox_types::PeerAddress;

/// Kind of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Owns pools, or stands by to take them over.
    Aggregator,
    /// Scrapes model servers.
    Collector,
    /// Answers gateways.
    Epp,
}

/// A live process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its role.
    pub role: Role,
    /// Its name, unique in its role.
    pub name: String,
    /// The address at which others reach it, if they need to.
    pub address: Option<PeerAddress>,
}
