//! How full the pool is, as a replica sees it.

use signalbox_flow::{Detector, EndpointUse, Freshness, Saturation};
use signalbox_state::{PeerLoad, View};
use signalbox_types::Origin;

use crate::flow_view::{endpoint_uses, replicas};

/// Returns the saturation of the pool with the bookings of all replicas, to the replica `origin`. A pool without endpoints is
/// full.
pub fn pool_saturation(
    detector: &Detector,
    view: &View,
    (origin, peer_load): (Origin, PeerLoad),
    now_ms: u64,
) -> f64 {
    let local = view.local_state(origin, peer_load, now_ms);
    detector.assess(&endpoint_uses(view, &local)).map_or(1.0, |saturation| saturation.value)
}

/// Returns the saturation of the share of the pool of the replica `origin`: as if each live replica had booked as much as this
/// one. `None` if the pool has no endpoints. The endpoints' metrics stand still when the view does, unless it `is_current`: then
/// only bookings count.
pub fn share_saturation(
    detector: &Detector,
    view: &View,
    (origin, is_current): (Origin, bool),
    now_ms: u64,
) -> Option<Saturation> {
    let local = view.local_state(origin, PeerLoad::Outdated, now_ms);
    let replicas = replicas(view, origin);
    let uses: Vec<_> = endpoint_uses(view, &local)
        .into_iter()
        .map(|of| EndpointUse {
            freshness: if is_current { of.freshness } else { Freshness::Unknown },
            requests: of.requests * replicas,
            tokens: of.tokens * replicas,
            ..of
        })
        .collect();
    let saturation = detector.assess(&uses)?;
    let share = replicas as f64;
    let (per_request, per_token) = (saturation.per_request * share, saturation.per_token * share);
    // The other replicas fill other endpoints meanwhile.
    let per_request_limit = saturation.per_request_limit * share;
    Some(Saturation { value: saturation.value, per_request, per_token, per_request_limit })
}
