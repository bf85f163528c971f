//! How full the pool is, as this replica sees it.

use std::sync::atomic::{AtomicU64, Ordering};

use signalbox_flow::{EndpointUse, Saturation};
use signalbox_state::{PeerLoad, View};

use super::flow_view;
use super::picker::Picker;

/// How long a computed saturation is used, in milliseconds.
const MAX_AGE_MS: u64 = 5;

/// The saturation of the pool and when it was computed.
#[derive(Debug)]
pub(super) struct LatestSaturation {
    at_ms: AtomicU64,
    /// The bits of an `f64`.
    value: AtomicU64,
}

impl Default for LatestSaturation {
    fn default() -> Self {
        Self { at_ms: AtomicU64::new(u64::MAX), value: AtomicU64::new(0) }
    }
}

impl Picker {
    /// Returns the saturation of the pool with the bookings of all replicas, at most [`MAX_AGE_MS`] old. A pool without
    /// endpoints is full.
    pub(crate) fn pool_saturation(&self, view: &View) -> f64 {
        let (latest, now_ms) = (&self.saturation, self.now_ms());
        let at_ms = latest.at_ms.load(Ordering::Relaxed);
        if at_ms <= now_ms && now_ms - at_ms < MAX_AGE_MS {
            return f64::from_bits(latest.value.load(Ordering::Relaxed));
        }
        let local = view.local_state(self.origin(), self.peer_load(), now_ms);
        let uses = flow_view::endpoint_uses(view, &local);
        let value = self.gate.detector().assess(&uses).map_or(1.0, |saturation| saturation.value);
        latest.value.store(value.to_bits(), Ordering::Relaxed);
        latest.at_ms.store(now_ms, Ordering::Relaxed);
        value
    }

    /// Returns the saturation of this replica's share of the pool: as if each live replica had booked as much as this one.
    /// `None` if the pool has no endpoints.
    pub(crate) fn own_saturation(&self) -> Option<Saturation> {
        let view = &self.snapshot.load().view;
        let local = view.local_state(self.origin(), PeerLoad::Outdated, self.now_ms());
        let replicas = flow_view::replicas(view, self.origin());
        let uses: Vec<_> = flow_view::endpoint_uses(view, &local)
            .into_iter()
            .map(|of| EndpointUse { requests: of.requests * replicas, tokens: of.tokens * replicas, ..of })
            .collect();
        let saturation = self.gate.detector().assess(&uses)?;
        let share = replicas as f64;
        let (per_request, per_token) = (saturation.per_request * share, saturation.per_token * share);
        // The other replicas fill other endpoints meanwhile.
        let per_request_limit = saturation.per_request_limit * share;
        Some(Saturation { value: saturation.value, per_request, per_token, per_request_limit })
    }
}
