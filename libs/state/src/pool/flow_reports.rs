//! Takes over what replicas report of flow control: what waits, what can be revoked, and by which settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::{
    Backlog, FlowKey, FlowSettings, PeerBacklog, PeerRevocable, Revocable, RevocableClass, Usage,
};
use signalbox_types::Origin;

use super::Pool;
use crate::pool_state::{Change, FlowChange, OriginFlows};
use crate::reports::{FlowReport, GaugeScope};

/// By how much the start of a request may differ from what is known, in milliseconds, without being worth a change: each
/// report measures it again, with the time that the report takes.
const START_TOLERANCE_MS: u64 = 100;

impl Pool {
    /// Handles what a replica reports of flow control.
    pub(super) fn handle_flows(
        &mut self,
        now_ms: u64,
        origin: Origin,
        scope: GaugeScope,
        report: FlowReport,
    ) {
        let FlowReport { backlogs, revocable, settings } = report;
        if let Some(settings) = settings {
            self.handle_flow_settings(origin, settings);
        }
        for (class, revocable) in self.changed_revocable(now_ms, origin, scope, revocable) {
            self.commit(Change::Flow(FlowChange::RevocableChanged { origin, class, revocable }));
        }
        if backlogs.is_empty() && (scope == GaugeScope::Changed || !self.has_flows(origin)) {
            return;
        }
        // The last backlog of a flow counts.
        let reported: BTreeMap<FlowKey, Backlog> = backlogs.into_iter().collect();
        for (flow, backlog) in self.changed_backlogs(now_ms, origin, scope, reported) {
            self.commit(Change::Flow(FlowChange::BacklogChanged { origin, flow, backlog }));
        }
    }

    /// Takes over settings that a replica did not report before. So two replicas that repeat different ones do not take turns.
    /// Settings that no replica reports any more give way to those of one that does.
    fn handle_flow_settings(&mut self, origin: Origin, settings: Arc<FlowSettings>) {
        let flows = self.pool_state.flows();
        let held = flows.settings();
        let is_repeated = flows.origin(origin).is_some_and(|of| of.has_reported(&settings));
        let is_held_elsewhere = || flows.origins().any(|(_, of)| of.has_reported(held));
        if is_repeated && is_held_elsewhere() {
            return;
        }
        let settings = if settings == *held { Arc::clone(held) } else { settings };
        self.commit(Change::Flow(FlowChange::SettingsReported { origin, settings }));
    }

    fn has_flows(&self, origin: Origin) -> bool {
        self.pool_state.flows().origin(origin).is_some_and(|flows| flows.backlogs().len() > 0)
    }

    /// Returns the classes of which something else can be revoked than is known. Further ones than a replica may have are
    /// ignored.
    fn changed_revocable(
        &self,
        now_ms: u64,
        origin: Origin,
        scope: GaugeScope,
        reported: Vec<(RevocableClass, Revocable)>,
    ) -> Vec<(RevocableClass, PeerRevocable)> {
        let nothing = OriginFlows::default();
        let known = self.pool_state.flows().origin(origin).unwrap_or(&nothing);
        let mut after: BTreeMap<_, _> = known.revocable().collect();
        if scope == GaugeScope::All {
            after.values_mut().for_each(|of| *of = PeerRevocable::default());
        }
        // The last report of a class counts.
        for (class, report) in reported {
            if after.contains_key(&class) || after.len() < PeerRevocable::MAX_CLASSES {
                after.insert(class, known.revocable_of(class).after(now_ms, report));
            }
        }
        after.retain(|class, of| !is_same_revocable(known.revocable_of(*class), *of));
        after.into_iter().collect()
    }

    /// Returns the flows of which something else waits than is known. Further ones than a replica may have are ignored.
    fn changed_backlogs(
        &self,
        now_ms: u64,
        origin: Origin,
        scope: GaugeScope,
        reported: BTreeMap<FlowKey, Backlog>,
    ) -> Vec<(FlowKey, PeerBacklog)> {
        let known = self.pool_state.flows().origin(origin);
        let known_of = |flow: &FlowKey| known.and_then(|flows| flows.backlog(flow)).copied();
        let absent = known.filter(|_| scope == GaugeScope::All).into_iter().flat_map(OriginFlows::backlogs);
        let absent = absent.filter(|(flow, _)| !reported.contains_key(flow));
        let mut changed: Vec<_> = absent.map(|(flow, _)| (flow.clone(), PeerBacklog::default())).collect();
        let mut room = OriginFlows::MAX_FLOWS.saturating_sub(known.map_or(0, |flows| flows.backlogs().len()));
        room += changed.len();
        for (flow, backlog) in reported {
            let before = known_of(&flow);
            let after = after_report(now_ms, before.unwrap_or_default(), backlog);
            if is_same(before.unwrap_or_default(), after) {
                continue;
            }
            if before.is_none() {
                let Some(left) = room.checked_sub(1) else { continue };
                room = left;
            }
            changed.push((flow, after));
        }
        changed
    }
}

/// Returns what waits after a report. Of a flow of which nothing waits only grants are kept that the replica has not reported
/// as used: the numbers of the next ones must be higher.
fn after_report(now_ms: u64, before: PeerBacklog, backlog: Backlog) -> PeerBacklog {
    let mut after = before;
    after.report(now_ms, backlog);
    if after.usage.requests > 0 {
        return after;
    }
    let PeerBacklog { released, granted, .. } = after;
    if granted == released {
        return PeerBacklog::default();
    }
    PeerBacklog { usage: Usage::default(), oldest_ms: 0, released, granted }
}

fn is_same(before: PeerBacklog, after: PeerBacklog) -> bool {
    PeerBacklog { oldest_ms: before.oldest_ms, ..after } == before
        && is_same_start(before.oldest_ms, after.oldest_ms)
}

fn is_same_revocable(before: PeerRevocable, after: PeerRevocable) -> bool {
    PeerRevocable { newest_ms: before.newest_ms, oldest_ms: before.oldest_ms, ..after } == before
        && is_same_start(before.newest_ms, after.newest_ms)
        && is_same_start(before.oldest_ms, after.oldest_ms)
}

fn is_same_start(before_ms: u64, after_ms: u64) -> bool {
    before_ms.abs_diff(after_ms) < START_TOLERANCE_MS
}
