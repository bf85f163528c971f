//! Grants of a replica that hears no owner.

use std::collections::BTreeSet;

use signalbox_flow::{Backlog, FlowKey, FlowSettings, Grant, Granter, Saturation};
use signalbox_types::Origin;

/// The replica itself, to its own granter.
const SELF: Origin = Origin(0);

/// Grants to the requests that wait at this replica, while no owner is heard. The numbers go on from those that the owner's
/// grants have reached, so that nothing is granted twice.
#[derive(Debug, Default)]
pub(crate) struct LocalGrants {
    granter: Granter,
    flows: BTreeSet<FlowKey>,
}

impl LocalGrants {
    /// Grants places in this replica's share of the pool, whose saturation is `saturation`.
    pub(crate) fn grant(
        &mut self,
        settings: &FlowSettings,
        saturation: &Saturation,
        backlogs: &[(FlowKey, Backlog)],
        now_ms: u64,
    ) -> Vec<Grant> {
        for (flow, backlog) in backlogs {
            self.granter.report(now_ms, SELF, flow, *backlog);
        }
        let flows = backlogs.iter().map(|(flow, _)| flow.clone()).collect();
        for gone in self.flows.difference(&flows) {
            self.granter.forget(SELF, gone);
        }
        self.flows = flows;
        self.granter.grant(settings, saturation, now_ms)
    }
}
