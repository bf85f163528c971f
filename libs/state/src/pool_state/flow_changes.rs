//! Changes the flow table of a pool state, with its checksum.

use signalbox_types::Origin;

use super::flow_table::{FlowChange, FlowPart, FlowTable};
use super::{PoolState, digest};

impl PoolState {
    /// Returns what waits while the pool is full, and what may go.
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    pub(super) fn change_flows(&mut self, change: &FlowChange) {
        let replaced = self.flows.apply(change);
        digest::replace_part(&mut self.digest.flows, replaced.before, replaced.after);
    }

    pub(super) fn expire_flows(&mut self, origin: Origin) {
        let replaced = self.flows.expire(origin);
        digest::replace_part(&mut self.digest.flows, replaced.before, replaced.after);
    }

    /// Adds a part of the flow table of a snapshot.
    pub fn insert_flow_part(&mut self, part: &FlowPart) {
        let replaced = self.flows.insert(part);
        digest::replace_part(&mut self.digest.flows, replaced.before, replaced.after);
    }
}
