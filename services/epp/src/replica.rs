//! What all pools of a replica share.

use std::sync::Arc;

use signalbox_peers::Connections;
use signalbox_telemetry::Registries;
use signalbox_types::PeerAddress;
use tokio::sync::watch;

use crate::deciding::decision_spans::DecisionTracer;
use crate::deciding::picker::PickerSettings;
use crate::directory::PoolDirectory;
use crate::gateway::servers::GatewayServers;

/// What all pools of a replica share.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The replica's name.
    pub(crate) name: String,
    /// The aggregators that are known at the moment.
    pub(crate) aggregators: watch::Receiver<Vec<PeerAddress>>,
    /// Connections to them.
    pub(crate) connections: Connections,
    /// How requests are handled.
    pub(crate) picker: PickerSettings,
    /// Number of latest decisions to keep per pool.
    pub(crate) decision_history: usize,
    /// Exports spans of decisions, if tracing is on.
    pub(crate) tracer: Option<Arc<DecisionTracer>>,
    /// The metrics of the replica and of each pool.
    pub(crate) registries: Registries,
    /// The pools that are served.
    pub(crate) directory: Arc<PoolDirectory>,
    /// Receives why the actors of a pool failed, if they fail too often.
    pub(crate) failure: watch::Sender<Option<String>>,
    /// Servers for gateways.
    pub(crate) gateways: GatewayServers,
}
