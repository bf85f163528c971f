//! What it costs to serve a request at one endpoint: the least expected time wins.

use serde::Serialize;
use signalbox_state::{Local, Matches, Member, Reach, View};
use signalbox_types::{PPM, Request};

use crate::policy::Policy;

/// Bytes of prompt that count as one token.
const BYTES_PER_TOKEN: u64 = 4;

/// How much can be expected of an endpoint. A request goes to one of a worse tier only when there is none of a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Its values are fresh and it has room; or it is so new that nobody has read it yet.
    Open,
    /// Its values are fresh; its KV cache is full and requests are waiting.
    Full,
    /// Its values are not fresh any more.
    Stale,
    /// Nothing listens at its address, as far as its collector can see.
    Down,
}

/// The terms of an endpoint's cost for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// How much can be expected of it.
    pub tier: Tier,
    /// Prompt tokens that it holds already.
    pub cached_tokens: u64,
    /// Requests that it has, from all replicas and past them.
    pub requests: u64,
    /// Time until it begins with the prompt, in microseconds.
    pub wait_us: u64,
    /// Time for the part of the prompt that it does not hold, in microseconds.
    pub prefill_us: u64,
    /// Time for the answer, beside the other requests there, in microseconds.
    pub decode_us: u64,
}

impl Terms {
    /// The whole expected time, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.wait_us.saturating_add(self.prefill_us).saturating_add(self.decode_us)
    }
}

/// What it costs to serve `request` at the member at `position`.
///
/// - wait: prompt tokens ahead ÷ prefill rate; and, where the KV cache has no room for them and this prompt, the time until
///   enough of the running requests have ended
/// - prefill: uncached tokens ÷ prefill rate
/// - decode: expected output tokens × (time per token + requests there × interference)
pub(crate) fn terms(
    view: &View,
    local: &Local,
    matches: &Matches,
    request: &Request,
    policy: &Policy,
    position: usize,
) -> Terms {
    let member = &view.members[position];
    let block_tokens = u64::from(view.format.block_bytes) / BYTES_PER_TOKEN;
    let held_blocks = matches.blocks.get(position).map_or(0, |blocks| *blocks as u64);
    // The last token is always computed: the first token of the answer comes out of it.
    let cached_tokens = (held_blocks * block_tokens).min(request.prompt_tokens.saturating_sub(1));
    let uncached_tokens = request.prompt_tokens - cached_tokens;
    let load = local.load_at(position, member);
    let foreign = u64::from(member.observed.foreign);
    let foreign_waiting = foreign.min(u64::from(member.observed.gauges.waiting));
    let ahead_tokens = load.prefill_tokens.saturating_add(foreign_waiting * policy.foreign_prompt_tokens);
    let requests = u64::from(load.requests) + foreign;
    let output_tokens = request.max_output_tokens.unwrap_or(policy.output_tokens).min(policy.output_tokens);
    let tier = tier(member, policy);
    Terms {
        tier,
        cached_tokens,
        requests,
        wait_us: prefill_us(policy, ahead_tokens).saturating_add(room_us(
            policy,
            member,
            tier,
            ahead_tokens.saturating_add(uncached_tokens),
        )),
        prefill_us: prefill_us(policy, uncached_tokens),
        decode_us: output_tokens * (policy.decode_token_us + requests * policy.decode_interference_us),
    }
}

fn prefill_us(policy: &Policy, tokens: u64) -> u64 {
    tokens.saturating_mul(1_000_000) / policy.prefill_tokens_per_second.max(1)
}

/// Time until `wanted_tokens` fit into the KV cache. Tokens come free at the rate at which those in use end: use ÷ service
/// time. A full endpoint serves its queue at the rate at which its running requests end.
fn room_us(policy: &Policy, member: &Member, tier: Tier, wanted_tokens: u64) -> u64 {
    let service_us = policy.service_ms * 1_000;
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

fn tier(member: &Member, policy: &Policy) -> Tier {
    let gauges = member.observed.gauges;
    let is_full = gauges.waiting > 0 && gauges.kv_used_ppm.is_some_and(|used| used >= policy.full_kv_ppm);
    match member.observed.reach {
        Reach::Fresh if is_full => Tier::Full,
        Reach::Fresh | Reach::Unknown => Tier::Open,
        Reach::Stale => Tier::Stale,
        Reach::Down => Tier::Down,
    }
}
