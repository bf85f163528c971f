//! The parts in which a flow table is sent.

use std::sync::Arc;

use signalbox_flow::{BandShares, FlowSettings};
use signalbox_types::Origin;

use super::flow_measures::FlowMeasures;
use super::origin_flows::OriginFlows;

/// A part of a [`super::FlowTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowPart {
    /// The settings, and what the owner measured.
    Pool(Arc<FlowSettings>, FlowMeasures),
    /// What waits at one replica.
    Origin(Origin, Arc<OriginFlows>),
    /// What the flows of the band of this priority got.
    Band(i32, Arc<BandShares>),
}
