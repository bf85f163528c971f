//! What it costs to serve a request at one endpoint.

use serde::{Deserialize, Serialize};
use signalbox_state::{Circuit, Member, Reach};
use signalbox_types::{PPM, Rates};

use crate::ground::Ground;
use crate::least_time::LeastTime;

/// How much can be expected of an endpoint. A request goes to one of a worse tier only when there is none of a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Its values are fresh and it has room; or it is so new that nobody has read it yet.
    Open,
    /// Its values are fresh; its KV cache is full and requests are waiting.
    Full,
    /// Its values are not fresh any more.
    Stale,
    /// It fails request after request.
    Failing,
    /// Nothing listens at its address, as far as its collector can see.
    Down,
}

/// The terms of an endpoint's cost for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How much can be expected of it.
    pub tier: Tier,
    /// Prompt tokens that it holds already.
    pub cached_tokens: u64,
    /// Prompt tokens that it has to process before it begins with this prompt.
    pub ahead_tokens: u64,
    /// Requests that it has, from all replicas and past them.
    pub requests: u64,
    /// Time until it begins with the prompt, in microseconds.
    pub wait_us: u64,
    /// Time for the part of the prompt that it does not hold, in microseconds.
    pub prefill_us: u64,
    /// Time for the answer, beside the other requests there, in microseconds.
    pub decode_us: u64,
    /// What is added because it is new, in microseconds.
    pub ramp_us: u64,
}

impl Terms {
    /// The whole expected time, in microseconds.
    pub fn total_us(&self) -> u64 {
        let Self { wait_us, prefill_us, decode_us, ramp_us, .. } = self;
        [wait_us, prefill_us, decode_us, ramp_us].into_iter().fold(0, |sum: u64, us| sum.saturating_add(*us))
    }
}

/// What it costs to serve the request at the member at `position`.
///
/// - wait: prompt tokens ahead ÷ prefill rate; and, where the KV cache has no room for them and this prompt, the time until
///   enough of the running requests have ended
/// - prefill: uncached tokens ÷ prefill rate
/// - decode: expected output tokens × (time per token + requests there × interference)
/// - ramp: (prefill + decode) × ramp percent
pub(crate) fn terms(ground: &Ground<'_>, settings: &LeastTime, position: usize) -> Terms {
    let member = ground.member(position);
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } =
        member.assessment.rates;
    let prefill_us =
        |tokens: u64| tokens.saturating_mul(1_000_000) / u64::from(prefill_tokens_per_second).max(1);
    let cached_tokens = ground.cached_tokens(position);
    let uncached_tokens = ground.request.prompt_tokens - cached_tokens;
    let load = ground.load(position);
    let foreign = u64::from(member.observed.foreign);
    let foreign_waiting = foreign.min(u64::from(member.observed.gauges.waiting));
    let ahead_tokens = load.prefill_tokens.saturating_add(foreign_waiting * settings.foreign_prompt_tokens);
    let requests = u64::from(load.requests) + foreign;
    let output_tokens =
        ground.request.max_output_tokens.unwrap_or(settings.output_tokens).min(settings.output_tokens);
    let tier = tier(member, load.requests, settings);
    let room_us = room_us(settings, member, tier, ahead_tokens.saturating_add(uncached_tokens));
    let work_us = prefill_us(uncached_tokens);
    let token_us = u64::from(decode_token_us) + requests * u64::from(decode_interference_us);
    let decode_us = output_tokens * token_us;
    Terms {
        tier,
        cached_tokens,
        ahead_tokens,
        requests,
        wait_us: prefill_us(ahead_tokens).saturating_add(room_us),
        prefill_us: work_us,
        decode_us,
        ramp_us: work_us.saturating_add(decode_us).saturating_mul(member.assessment.ramp_percent.into())
            / 100,
    }
}

/// Time until `wanted_tokens` fit into the KV cache. Tokens come free at the rate at which those in use end: use ÷ service
/// time. A full endpoint serves its queue at the rate at which its running requests end.
fn room_us(settings: &LeastTime, member: &Member, tier: Tier, wanted_tokens: u64) -> u64 {
    let service_us = settings.service_ms * 1_000;
    let gauges = member.observed.gauges;
    if tier == Tier::Full {
        return (u64::from(gauges.waiting) + 1) * service_us / u64::from(gauges.running.max(1));
    }
    let (Some(capacity), Some(used_ppm)) = (member.observed.capacity, gauges.kv_used_ppm) else { return 0 };
    let used_tokens = capacity.kv_tokens / u64::from(PPM) * u64::from(used_ppm)
        + capacity.kv_tokens % u64::from(PPM) * u64::from(used_ppm) / u64::from(PPM);
    let free_tokens = capacity.kv_tokens.saturating_sub(used_tokens);
    let missing_tokens = wanted_tokens.saturating_sub(free_tokens);
    missing_tokens.saturating_mul(service_us) / used_tokens.max(1)
}

fn tier(member: &Member, requests: u32, settings: &LeastTime) -> Tier {
    let gauges = member.observed.gauges;
    let is_full = gauges.waiting > 0 && gauges.kv_used_ppm.is_some_and(|used| used >= settings.full_kv_ppm);
    match (member.observed.reach, member.assessment.circuit) {
        (Reach::Down, _) => Tier::Down,
        (_, Circuit::Broken) => Tier::Failing,
        (_, Circuit::Probing) if requests > 0 => Tier::Failing,
        (Reach::Stale, _) => Tier::Stale,
        (Reach::Fresh, _) if is_full => Tier::Full,
        (Reach::Fresh | Reach::Unknown, _) => Tier::Open,
    }
}
