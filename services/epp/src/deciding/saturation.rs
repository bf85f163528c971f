//! How full the pool is, as this replica sees it.

use signalbox_flow::{EndpointUse, Freshness, Saturation};
use signalbox_state::{PeerLoad, View};

use super::flow_view;
use super::picker::Picker;
use crate::flow_control::OWNER_SILENCE_MS;

impl Picker {
    /// Returns the saturation of the pool with the bookings of all replicas, a few milliseconds old at most. A pool without
    /// endpoints is full.
    pub(crate) fn pool_saturation(&self, view: &View) -> f64 {
        let now_ms = self.now_ms();
        self.saturation.at(now_ms, || {
            let local = view.local_state(self.origin(), self.peer_load(), now_ms);
            let uses = flow_view::endpoint_uses(view, &local);
            self.gate.detector().assess(&uses).map_or(1.0, |saturation| saturation.value)
        })
    }

    /// Returns the saturation of this replica's share of the pool: as if each live replica had booked as much as this one.
    /// `None` if the pool has no endpoints. The endpoints' metrics stand still when the view does: then only bookings count.
    pub(crate) fn own_saturation(&self) -> Option<Saturation> {
        let view = &self.snapshot.load().view;
        let local = view.local_state(self.origin(), PeerLoad::Outdated, self.now_ms());
        let replicas = flow_view::replicas(view, self.origin());
        let is_current = self.view_age_ms() < OWNER_SILENCE_MS;
        let uses: Vec<_> = flow_view::endpoint_uses(view, &local)
            .into_iter()
            .map(|of| EndpointUse {
                freshness: if is_current { of.freshness } else { Freshness::Unknown },
                requests: of.requests * replicas,
                tokens: of.tokens * replicas,
                ..of
            })
            .collect();
        let saturation = self.gate.detector().assess(&uses)?;
        let share = replicas as f64;
        let (per_request, per_token) = (saturation.per_request * share, saturation.per_token * share);
        // The other replicas fill other endpoints meanwhile.
        let per_request_limit = saturation.per_request_limit * share;
        Some(Saturation { value: saturation.value, per_request, per_token, per_request_limit })
    }
}
