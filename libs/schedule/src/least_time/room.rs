//! How long a prompt waits for room in an endpoint's KV cache.

use signalbox_state::EndpointState;
use signalbox_types::PPM;

use super::settings::LeastTime;
use super::tier::Tier;

/// Time that counts for a prompt that is longer than the KV cache: 1 minute. No wait makes room for it, but its
/// length is an estimate, so the endpoint remains a candidate behind all that have less than this to do.
pub(super) const TOO_LONG_US: u64 = 60_000_000;

/// Maximum of every expected time that depends on room, including that of a whole request: 10 minutes.
/// It bounds how long a booking is kept whose end is never reported.
pub(super) const MAX_EXPECTED_US: u64 = 600_000_000;

/// The prompts that need room in the KV cache, in tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedRoom {
    /// Whole prompt of the request.
    pub(super) prompt_tokens: u64,
    /// Part of the prompt that is not cached.
    pub(super) uncached_tokens: u64,
    /// Uncached parts of the prompts that come first.
    pub(super) ahead_tokens: u64,
}

/// Returns the time until the wanted tokens fit into the KV cache, in microseconds.
///
/// Only running requests hold room: cached blocks of ended requests are evicted as needed. Running requests end
/// at a rate of tokens held ÷ service time, and those ahead will hold room too. So the time is the missing tokens ×
/// service time ÷ the tokens that are or will be held, and an endpoint where nothing runs has nothing to wait
/// for. A full endpoint serves its queue at the rate at which requests end.
pub(super) fn room_us(settings: &LeastTime, endpoint: &EndpointState, tier: Tier, wanted: WantedRoom) -> u64 {
    let service_us = settings.service_ms.saturating_mul(1_000);
    let gauges = endpoint.observed.gauges;
    if tier == Tier::Full {
        let (queue, running) = (u64::from(gauges.waiting) + 1, u64::from(gauges.running.unwrap_or(0)));
        return (queue.saturating_mul(service_us) / running.max(1)).min(MAX_EXPECTED_US);
    }
    let (Some(capacity), Some(used_ppm)) = (endpoint.observed.capacity, gauges.kv_used_ppm) else {
        return 0;
    };
    let WantedRoom { prompt_tokens, uncached_tokens, ahead_tokens } = wanted;
    let floor_us = if prompt_tokens > capacity.kv_tokens { TOO_LONG_US } else { 0 };
    let is_idle = gauges.running == Some(0) && gauges.waiting == 0;
    let used_tokens = if is_idle { 0 } else { share_of(capacity.kv_tokens, used_ppm) };
    let free_tokens = capacity.kv_tokens.saturating_sub(used_tokens);
    // What exceeds the capacity is covered by the constant: no end of a request makes room for it.
    let wanted_tokens = ahead_tokens.saturating_add(uncached_tokens.min(capacity.kv_tokens));
    let missing_tokens = wanted_tokens.saturating_sub(free_tokens);
    let held_tokens = used_tokens.saturating_add(ahead_tokens).min(capacity.kv_tokens);
    if missing_tokens == 0 || held_tokens == 0 {
        return floor_us;
    }
    (missing_tokens.saturating_mul(service_us) / held_tokens).clamp(floor_us, MAX_EXPECTED_US)
}

fn share_of(tokens: u64, ppm: u32) -> u64 {
    let (ppm, whole) = (u64::from(ppm), u64::from(PPM));
    tokens / whole * ppm + tokens % whole * ppm / whole
}
