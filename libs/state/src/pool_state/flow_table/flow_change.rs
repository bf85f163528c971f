//! The changes of flow control.

use std::sync::Arc;

use signalbox_flow::{BandShares, FlowKey, FlowSettings, PeerBacklog, PeerRevocable, RevocableClass};
use signalbox_types::Origin;

use super::flow_measures::FlowMeasures;

/// A change of a pool's flow control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowChange {
    /// A replica reported settings that it did not report before. They hold from now on.
    SettingsReported {
        /// The replica.
        origin: Origin,
        /// The settings.
        settings: Arc<FlowSettings>,
    },
    /// What waits of one flow at a replica has changed, or was granted.
    BacklogChanged {
        /// The replica.
        origin: Origin,
        /// The flow.
        flow: FlowKey,
        /// What waits from now on, and up to which number requests may go. If this is the default, the flow is forgotten.
        backlog: PeerBacklog,
    },
    /// What can be revoked of one class at a replica has changed, or is to be revoked.
    RevocableChanged {
        /// The replica.
        origin: Origin,
        /// The class.
        class: RevocableClass,
        /// What can be revoked from now on, and up to which number requests are to be. If this is the default, the class is
        /// forgotten.
        revocable: PeerRevocable,
    },
    /// Requests of a band were granted.
    BandServed {
        /// The priority of the band.
        priority: i32,
        /// What the band got from now on, with the flows of which this has changed. A flow with the default value is forgotten.
        shares: Arc<BandShares>,
    },
    /// What the owner measures has changed.
    Measured(FlowMeasures),
}
