//! When requests wait in a run, and for how long.

use rand::Rng;
use rand::rngs::SmallRng;
use signalbox_flow::{Caps, Detector, FlowSettings};

use crate::plan::pick;

/// Draws settings under which the pool is full at some times and not at others, waits end in each way, and some requests are
/// refused or revoked.
pub(super) fn random(rng: &mut SmallRng) -> FlowSettings {
    let detectors = [
        Detector::Wait { hold_ms: 5 },
        Detector::default(),
        Detector::Concurrency { requests: Some(4.0), tokens: None },
    ];
    let requests = *pick(rng, &[10, u64::MAX]);
    FlowSettings {
        caps: Caps { requests, ..Caps::NONE },
        request_ttl_ms: *pick(rng, &[Some(700), Some(60_000)]),
        no_endpoint_ttl_ms: *pick(rng, &[Some(1_500), Some(60_000)]),
        sheddable_wait_ms: *pick(rng, &[0, 400]),
        detector: *pick(rng, &detectors),
        revokes: rng.random(),
        ..FlowSettings::default()
    }
}
