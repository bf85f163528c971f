//! What is known about the pools of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{PoolId, PoolSpec};

/// The pools that the objects of a cluster describe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveredPools {
    /// Whether all objects were listed once. It never becomes false again. Before, `pools` is empty.
    pub is_synced: bool,
    /// The pools to serve.
    pub pools: BTreeMap<PoolId, DiscoveredPool>,
}

/// One pool to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredPool {
    /// Specification of the pool.
    pub spec: Arc<PoolSpec>,
    /// The port of the Service on which gateways ask for this pool; 0 if the pool names no endpoint picker.
    pub port: u16,
    /// Creation time of the InferencePool in milliseconds since the Unix epoch; 0 if unknown.
    pub created_ms: u64,
}
