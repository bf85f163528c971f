//! Changes the flow table of a pool state, with its checksum.

use signalbox_types::Origin;

use super::flow_table::{FlowChange, FlowPart, FlowTable, Replaced};
use super::{PoolState, digest};

impl PoolState {
    /// Returns what waits while the pool is full, and what may go.
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    pub(super) fn change_flows(&mut self, change: &FlowChange) {
        let replaced = self.flows.apply(change);
        self.replace_flow_sums(replaced);
    }

    pub(super) fn expire_flows(&mut self, origin: Origin) {
        let replaced = self.flows.expire(origin);
        self.replace_flow_sums(replaced);
    }

    /// Adds a part of the flow table of a snapshot.
    pub fn insert_flow_part(&mut self, part: &FlowPart) {
        let replaced = self.flows.insert(part);
        self.replace_flow_sums(replaced);
    }

    fn replace_flow_sums(&mut self, Replaced { before, after }: Replaced) {
        digest::replace_part(&mut self.digest.flows, before.flows, after.flows);
        digest::replace_part(&mut self.digest.revocable, before.revocable, after.revocable);
    }
}
