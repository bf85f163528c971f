//! How full the pool is, as a replica sees it.

use signalbox_flow::{Detector, EndpointUse, Freshness, Saturation};
use signalbox_state::{PeerLoad, View};
use signalbox_types::Origin;

use crate::flow_view::{endpoint_uses, replicas};
use crate::owner_silence::is_outdated;

/// Returns the saturation of the pool with the bookings of all replicas, to the replica `origin`. A pool without endpoints is
/// full.
///
/// If the view is out of date, because nothing was heard for `view_age_ms`, the bookings of other replicas in it are those of a
/// while ago, or gone. Then it is the saturation of this replica's share of the pool.
pub fn pool_saturation(
    detector: &Detector,
    view: &View,
    (origin, view_age_ms): (Origin, u64),
    now_ms: u64,
) -> f64 {
    let saturation = match is_outdated(view_age_ms) {
        true => share_saturation(detector, view, (origin, view_age_ms), now_ms),
        false => {
            let local = view.local_state(origin, PeerLoad::Current, now_ms);
            detector.assess(&endpoint_uses(view, &local))
        }
    };
    saturation.map_or(1.0, |saturation| saturation.value)
}

/// Returns the saturation of the share of the pool of the replica `origin`: as if each live replica had booked as much as this
/// one. `None` if the pool has no endpoints. The endpoints' metrics stand still when the view does: if nothing was heard for
/// `view_age_ms`, and it is out of date, only bookings count.
pub fn share_saturation(
    detector: &Detector,
    view: &View,
    (origin, view_age_ms): (Origin, u64),
    now_ms: u64,
) -> Option<Saturation> {
    let local = view.local_state(origin, PeerLoad::Outdated, now_ms);
    let replicas = replicas(view, origin);
    let as_all = |of: EndpointUse| EndpointUse {
        requests: of.requests * replicas,
        tokens: of.tokens * replicas,
        ..if is_outdated(view_age_ms) { without_metrics(of) } else { of }
    };
    let uses: Vec<_> = endpoint_uses(view, &local).into_iter().map(as_all).collect();
    let saturation = detector.assess(&uses)?;
    let share = replicas as f64;
    let (per_request, per_token) = (saturation.per_request * share, saturation.per_token * share);
    // The other replicas fill other endpoints meanwhile.
    let per_request_limit = saturation.per_request_limit * share;
    Some(Saturation { value: saturation.value, per_request, per_token, per_request_limit })
}

fn without_metrics(of: EndpointUse) -> EndpointUse {
    EndpointUse {
        freshness: Freshness::Unknown,
        waiting: 0,
        kv_use: 0.0,
        other_wait_ms: 0,
        free_kv_tokens: None,
        ..of
    }
}
