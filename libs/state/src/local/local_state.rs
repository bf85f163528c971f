//! The load of each endpoint, and a replica's own state that the pool state does not contain yet, as one decision reads
//! them.

use serde::{Deserialize, Serialize};
use signalbox_types::{EndpointKey, Load, Origin};
use smallvec::SmallVec;

/// Whether the loads of other replicas are recent enough to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLoad {
    /// They count.
    Current,
    /// They do not count: the view is older than the origin TTL, so the other replicas may be gone.
    Outdated,
}

/// The load of each endpoint, and a replica's own state that the pool state does not contain yet, as one decision reads
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalState {
    /// The replica's own origin.
    pub origin: Origin,
    /// The replica's own load per endpoint, in the order of the view's endpoints.
    pub own: Vec<Load>,
    /// The load that all other replicas put on each endpoint, in the order of the view's endpoints; empty if it does not
    /// count. Other replicas change it meanwhile: all of a decision reads these values.
    pub peers: Vec<Load>,
    /// How long each endpoint has been processing its current prompt, in milliseconds, in the order of the
    /// view's endpoints.
    pub prefilling_ms: Vec<u64>,
    /// The endpoints to which this replica recently sent requests for the LoRA adapter of the current
    /// request.
    pub adapter_sent_to: SmallVec<[EndpointKey; 4]>,
    /// The endpoints that this replica recently probed with requests for the model of the current request.
    #[serde(default, skip_serializing_if = "SmallVec::is_empty")]
    pub probed: SmallVec<[EndpointKey; 4]>,
    /// This replica's requests per endpoint that were answered with an error and would still be processed
    /// otherwise, in the order of the view's endpoints; empty if there are none. They count as load, so that an
    /// endpoint does not attract requests by failing them quickly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unserved: Vec<Load>,
}

impl LocalState {
    /// Returns the load that the endpoint at `position` would have if no request had been answered with an error.
    pub fn expected_load_at(&self, position: usize) -> Load {
        self.load_at(position) + load_of(&self.unserved, position)
    }

    /// Returns the load that replicas put on the endpoint at `position`.
    pub fn load_at(&self, position: usize) -> Load {
        load_of(&self.own, position) + load_of(&self.peers, position)
    }

    /// Returns how long the endpoint at `position` has been processing its current prompt, in milliseconds.
    pub fn prefilling_ms_at(&self, position: usize) -> u64 {
        self.prefilling_ms.get(position).copied().unwrap_or(0)
    }
}

fn load_of(loads: &[Load], position: usize) -> Load {
    loads.get(position).copied().unwrap_or(Load::ZERO)
}
