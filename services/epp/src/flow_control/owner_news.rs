//! What the pool's state says to a replica about requests that wait.

use signalbox_flow::{FlowKey, PoolPhase};

/// What a new view says about requests that wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OwnerNews {
    /// Whether the pool has endpoints.
    pub(crate) phase: PoolPhase,
    /// The highest priority of which requests wait for a grant at other replicas.
    pub(crate) highest_elsewhere: Option<i32>,
    /// Up to which number the requests of each flow may go at this replica.
    pub(crate) grants: Vec<(FlowKey, u64)>,
    /// Whether the owner knows the settings of this replica, or what waits here. One of an older release never does.
    pub(crate) knows_replica: bool,
    /// How many requests per second go from the queues of all replicas.
    pub(crate) requests_per_second: f64,
}
