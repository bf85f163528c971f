//! Checks what owners grant.

use std::collections::BTreeMap;

use signalbox_flow::{FlowKey, PeerBacklog};
use signalbox_state::{FlowChange, PoolState};
use signalbox_types::Origin;

use super::revocations::revocable_of;
use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// Returns what waits of each flow at each origin.
pub(super) fn backlogs_of(pool_state: &PoolState) -> BTreeMap<(Origin, FlowKey), PeerBacklog> {
    let of_origin = |(origin, flows): (Origin, &std::sync::Arc<signalbox_state::OriginFlows>)| {
        let backlogs = flows.backlogs().map(|(flow, backlog)| ((origin, flow.clone()), *backlog));
        backlogs.collect::<Vec<_>>()
    };
    pool_state.flows().origins().flat_map(of_origin).collect()
}

impl StepChecker {
    /// Goes on from the present state, because the journal is too short for all that one input has changed.
    pub(super) fn resume_grants(&mut self, process: ProcessId, pool_state: &PoolState) {
        if let Some(record) = self.owners.get_mut(&process) {
            record.backlogs = backlogs_of(pool_state);
            record.revocable = revocable_of(pool_state);
        }
    }

    /// Checks a change of what waits, may go, or is to be revoked.
    pub(super) fn check_flow_change(
        &mut self,
        process: ProcessId,
        pool_state: &PoolState,
        change: &FlowChange,
    ) {
        if let FlowChange::RevocableChanged { origin, class, revocable } = change {
            self.check_revocable_change((process, pool_state), *origin, *class, *revocable);
        }
        let FlowChange::BacklogChanged { origin, flow, backlog } = change else { return };
        let Some(record) = self.owners.get_mut(&process) else { return };
        let before = record.backlogs.insert((*origin, flow.clone()), *backlog).unwrap_or_default();
        if *backlog == PeerBacklog::default() {
            return;
        }
        let most = before.granted.max(backlog.released + backlog.usage.requests);
        if backlog.granted > most || backlog.granted < before.granted {
            self.fail(Invariant::GrantsFitWhatWaits, || {
                format!("{process:?} changes {flow:?} of {origin} from {before:?} to {backlog:?}")
            });
        }
    }
}
