//! What a replica knows ahead of the pool when it decides.

use serde::{Deserialize, Serialize};
use signalbox_types::{EndpointKey, Load, Origin};
use smallvec::SmallVec;

use crate::pool_state::EndpointState;

/// Whether the view's loads of other replicas are recent enough to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerLoad {
    /// They count.
    Current,
    /// They do not count: the view is older than the origin TTL, so the other replicas may be gone.
    Outdated,
}

/// What a replica knows ahead of the pool when it decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalState {
    /// The replica's own origin: its load in the view is older than `own`.
    pub origin: Origin,
    /// The replica's own load per endpoint, in the order of the view's endpoints.
    pub own: Vec<Load>,
    /// How long each endpoint has been processing its current prompt, in milliseconds, in the order of the
    /// view's endpoints.
    pub prefilling_ms: Vec<u64>,
    /// Whether the loads of other replicas count.
    pub peer_load: PeerLoad,
    /// The endpoints to which this replica recently sent requests for the LoRA adapter of the current
    /// request.
    pub adapter_sent_to: SmallVec<[EndpointKey; 4]>,
}

impl LocalState {
    /// Returns the load that replicas put on the endpoint at `position`.
    pub fn load_at(&self, position: usize, endpoint_state: &EndpointState) -> Load {
        let own = self.own.get(position).copied().unwrap_or(Load::ZERO);
        match self.peer_load {
            PeerLoad::Current => own + endpoint_state.load_without(self.origin),
            PeerLoad::Outdated => own,
        }
    }
}
