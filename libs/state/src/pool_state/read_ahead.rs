//! Reads the memory that changes will need, before they are applied one after the other.

use std::hint::black_box;

use signalbox_types::Load;

use super::{Change, PoolState};

impl PoolState {
    /// Reads what the usual ones of these changes will need. In a large pool, nearly every change is at an endpoint whose state
    /// is not in the processor's cache: read together, they wait together. Changes nothing.
    pub(crate) fn read_ahead<'a>(&self, changes: impl Iterator<Item = &'a Change> + Clone) {
        self.index_writer.read_ahead(changes.clone().filter_map(|change| match change {
            Change::Placed { endpoint, anchor, .. } => Some((*endpoint, *anchor)),
            _ => None,
        }));
        for change in changes {
            match change {
                Change::LoadChanged { endpoint, origin, .. } => {
                    black_box::<Load>(self.loads.of(*endpoint, *origin));
                }
                Change::Observed { endpoint, .. } => {
                    black_box(self.endpoint(*endpoint).map(|endpoint_state| endpoint_state.observed.gauges));
                }
                _ => {}
            }
        }
    }
}
