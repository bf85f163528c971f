//! What a replica knows of its pool when requests arrive or wait, and how full the pool is by that.

use signalbox_flow::{Detector, EndpointUse, Freshness, Saturation};
use signalbox_state::{PeerLoad, View};
use signalbox_types::{Origin, Request};

use crate::admit::flow_of;
use crate::flow_view::{endpoint_uses, replicas, waiting_elsewhere};
use crate::gate_core::Arrival;
use crate::owner_silence::is_outdated;

/// What a replica knows of its pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The latest view of the pool.
    pub view: &'a View,
    /// The replica.
    pub origin: Origin,
    /// The replica's time, in milliseconds.
    pub now_ms: u64,
    /// For how long the owner was not heard, or has not heard this replica, in milliseconds.
    pub owner_silence_ms: u64,
    /// For how long nothing was heard that the view could show, in milliseconds.
    pub view_age_ms: u64,
}

impl Seen<'_> {
    /// Returns a request that has to wait, as the gate sees it: with its tokens, and the bytes of the body that is kept for it.
    pub fn arrival(&self, request: &Request, tokens: u64, bytes: u64) -> Arrival {
        let Self { view, origin, owner_silence_ms, .. } = *self;
        Arrival {
            flow: flow_of(request),
            tokens,
            bytes,
            ttft_goal_ms: request.ttft_goal_ms,
            elsewhere: waiting_elsewhere(view, origin, request.priority, owner_silence_ms),
            owner_silence_ms,
        }
    }

    /// Returns the saturation of the pool with the bookings of all replicas. A pool without endpoints is full.
    ///
    /// If the view is out of date, the bookings of other replicas in it are those of a while ago, or gone. Then it is the
    /// saturation of this replica's share of the pool.
    pub fn pool_saturation(&self, detector: &Detector) -> f64 {
        let saturation = match is_outdated(self.view_age_ms) {
            true => self.share_saturation(detector),
            false => {
                let local = self.view.local_state(self.origin, PeerLoad::Current, self.now_ms);
                detector.assess(&endpoint_uses(self.view, &local))
            }
        };
        saturation.map_or(1.0, |saturation| saturation.value)
    }

    /// Returns the saturation of this replica's share of the pool: as if each live replica had booked as much as this one.
    /// `None` if the pool has no endpoints. The endpoints' metrics stand still when the view does: if it is out of date, only
    /// bookings count.
    pub fn share_saturation(&self, detector: &Detector) -> Option<Saturation> {
        let Self { view, origin, now_ms, view_age_ms, .. } = *self;
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
        Some(Saturation { per_request, per_token, per_request_limit, ..saturation })
    }
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
