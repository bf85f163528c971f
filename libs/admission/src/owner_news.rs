//! What the pool's state says to a replica about requests that wait.

use signalbox_flow::{FlowKey, PoolPhase, RevocableClass};
use signalbox_state::View;
use signalbox_types::Origin;

use crate::flow_view::{highest_ungranted_elsewhere, is_empty, turn};

/// What a new view says about requests that wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnerNews {
    /// Whether the pool has endpoints.
    pub phase: PoolPhase,
    /// The highest priority of which requests wait for a grant at other replicas.
    pub highest_elsewhere: Option<i32>,
    /// Up to which number the requests of each flow may go at this replica.
    pub grants: Vec<(FlowKey, u64)>,
    /// Up to which number requests of each class are to be revoked at this replica.
    pub revocations: Vec<(RevocableClass, u64)>,
    /// Whether the owner knows the settings of this replica, or what waits here. One of an older release never does.
    pub knows_replica: bool,
    /// How many requests per second go from the queues of all replicas.
    pub requests_per_second: f64,
    /// The replica's place among those that share the pool, from 0 to less than 1.
    pub turn: f64,
}

impl OwnerNews {
    /// Returns what `view` says to the replica `origin`.
    pub fn of(view: &View, origin: Origin) -> Self {
        let (flows, phase) =
            (view.flows(), if is_empty(view) { PoolPhase::Empty } else { PoolPhase::Served });
        Self {
            phase,
            highest_elsewhere: highest_ungranted_elsewhere(view, origin),
            grants: flows.grants(origin).map(|(flow, up_to)| (flow.clone(), up_to)).collect(),
            revocations: flows.revocations(origin).collect(),
            knows_replica: flows.origin(origin).is_some(),
            requests_per_second: flows.drain_rate().requests_per_second(),
            turn: turn(view, origin),
        }
    }
}
