//! Orders that requests in flight give up their places to more important ones that wait, at all replicas together.

use signalbox_flow::{
    Detector, FlowSettings, Granter, PeerRevocable, Revocation, Saturation, Shortage, revoke,
};

use super::Pool;
use crate::pool_state::{Change, FlowChange};

/// After what time the metrics of endpoints show that requests are gone, in milliseconds: a few scrapes.
const SHOWN_AFTER_MS: u64 = 250;

impl Pool {
    /// Orders to revoke as much as the requests need that wait and were not granted.
    pub(super) fn revoke(
        &mut self,
        now_ms: u64,
        granter: &Granter,
        settings: &FlowSettings,
        saturation: &Saturation,
    ) {
        let of_origins = self.heard_origins(now_ms).flat_map(|(origin, flows)| {
            flows.revocable().map(move |(class, revocable)| (origin, class, revocable))
        });
        let revocable: Vec<_> = of_origins.collect();
        if revocable.iter().any(|(_, _, of)| of.outstanding() > 0) {
            self.granting.revoked_at_ms = Some(now_ms);
        }
        let Some(shortage) = granter.shortage(settings, saturation) else { return };
        if self.is_room_unknown(now_ms, settings, &shortage) {
            return;
        }
        for revocation in revoke(&shortage, saturation, revocable) {
            self.granting.revoked_at_ms = Some(now_ms);
            self.publish_revocation(revocation);
        }
    }

    /// Returns whether requests were revoked whose places may not show yet. Bookings show them at once, metrics later.
    fn is_room_unknown(&self, now_ms: u64, settings: &FlowSettings, shortage: &Shortage) -> bool {
        let is_shown_by_bookings = match settings.detector {
            Detector::Wait { .. } => shortage.is_of_prompts,
            Detector::Concurrency { .. } => true,
            Detector::Utilization { .. } => false,
        };
        let is_recent = |at_ms| now_ms.saturating_sub(at_ms) < SHOWN_AFTER_MS;
        !is_shown_by_bookings && self.granting.revoked_at_ms.is_some_and(is_recent)
    }

    fn publish_revocation(&mut self, revocation: Revocation) {
        let Revocation { origin, class, up_to } = revocation;
        let Some(before) = self.pool_state.flows().origin(origin).map(|flows| flows.revocable_of(class))
        else {
            return;
        };
        let revocable = PeerRevocable { ordered: up_to, ..before };
        self.commit(Change::Flow(FlowChange::RevocableChanged { origin, class, revocable }));
    }
}
