//! What it costs to serve a request at one endpoint.

use serde::{Deserialize, Serialize};
use signalbox_state::EndpointState;
use signalbox_types::{Load, PPM, Rates};

use crate::decision_inputs::{DecisionInputs, Standing};
use crate::least_time::{LeastTime, adapter};

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
    /// Prompt tokens that it has still to process before it begins with this prompt.
    pub ahead_tokens: u64,
    /// Requests that it has, from all replicas and past them.
    pub requests: u64,
    /// Those of them whose prompts it has not processed yet.
    pub prefills: u64,
    /// Time until it begins with the prompt, in microseconds.
    pub wait_us: u64,
    /// Time for the part of the prompt that it does not hold, in microseconds.
    pub prefill_us: u64,
    /// By how much the other requests there lengthen the beginning of the answer, in microseconds.
    pub interference_us: u64,
    /// Time for the whole answer beside them, in microseconds. Shown, and no part of the cost: it is long for a long answer, wherever
    /// that is given.
    pub decode_us: u64,
    /// What is added because it is new, in microseconds.
    pub ramp_us: u64,
    /// By how much it delays others: time for the prompt × requests that are likely to come meanwhile, in microseconds.
    pub others_us: u64,
    /// Time until it has the LoRA adapter that is asked for, in microseconds; what the one that gives way to it costs included.
    pub adapter_us: u64,
}

impl Terms {
    /// How long it is expected to take there until the prompt is processed, in microseconds.
    pub fn prefilled_us(&self) -> u64 {
        let Self { wait_us, prefill_us, ramp_us, adapter_us, .. } = *self;
        [wait_us, prefill_us, ramp_us, adapter_us].into_iter().fold(0, u64::saturating_add)
    }

    /// How long the request is expected to take there, in microseconds.
    pub fn expected_us(&self) -> u64 {
        self.prefilled_us().saturating_add(self.decode_us)
    }

    /// The whole cost: time until the answer begins and is under way, and what that costs others, in microseconds.
    pub fn total_us(&self) -> u64 {
        let Self { wait_us, prefill_us, interference_us, ramp_us, adapter_us, others_us, .. } = *self;
        let terms = [wait_us, prefill_us, interference_us, ramp_us, adapter_us, others_us];
        terms.into_iter().fold(0, u64::saturating_add)
    }
}

/// What a request takes from others counts one part in so many: not all of that time finds somebody who waits for it.
const OTHERS_PARTS: u64 = 2;

/// The requests at two endpoints differ for so many tokens of an answer: by then some have ended and others have come.
const INTERFERENCE_TOKENS: u64 = 16;

/// What it costs to serve the request at the member at `position`.
///
/// - wait: prompt tokens ahead ÷ prefill rate, less what is likely to be done of the prompt that the endpoint is at; and, where the KV
///   cache has no room for them and this prompt, the time until enough of the running requests have ended
/// - prefill: uncached tokens ÷ prefill rate
/// - interference: the first 16 tokens of the answer at most × requests there × interference of each
/// - adapter: see [`adapter::load_us`]
/// - ramp: (prefill + interference) × ramp percent
/// - others: prefill × requests there whose prompts are not processed ÷ 2. Those are ahead and not delayed, but in the time until
///   they are done as many are likely to come (L = λ·W, Little 1961)
pub(crate) fn terms(inputs: &DecisionInputs<'_>, settings: &LeastTime, position: usize) -> Terms {
    let member = inputs.member(position);
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } =
        member.assessment.rates;
    let cached_tokens = inputs.cached_tokens(position);
    let uncached_tokens = inputs.request.prompt_tokens - cached_tokens;
    let load = inputs.load(position);
    let unbooked_requests = u64::from(member.observed.unbooked_requests);
    let foreign_waiting = unbooked_requests.min(u64::from(member.observed.gauges.waiting));
    let rate = u64::from(prefill_tokens_per_second);
    let booked_tokens = load.prefill_tokens.saturating_sub(done_tokens(inputs, position, load, rate));
    let ahead_tokens = booked_tokens.saturating_add(foreign_waiting * settings.foreign_prompt_tokens);
    let requests = u64::from(load.requests) + unbooked_requests;
    let prefills = u64::from(load.prefills) + foreign_waiting;
    let output_tokens =
        inputs.request.max_output_tokens.unwrap_or(settings.output_tokens).min(settings.output_tokens);
    let tier = tier(inputs, settings, position);
    let room_us = room_us(settings, member, tier, ahead_tokens.saturating_add(uncached_tokens));
    let work_us = time_us(uncached_tokens, rate);
    let delay_us = requests * u64::from(decode_interference_us);
    let interference_us = output_tokens.min(INTERFERENCE_TOKENS) * delay_us;
    let ramp_percent = u64::from(member.assessment.ramp_percent);
    Terms {
        tier,
        cached_tokens,
        ahead_tokens,
        requests,
        prefills,
        wait_us: time_us(ahead_tokens, rate).saturating_add(room_us),
        prefill_us: work_us,
        interference_us,
        decode_us: output_tokens * (u64::from(decode_token_us) + delay_us),
        ramp_us: work_us.saturating_add(interference_us).saturating_mul(ramp_percent) / 100,
        adapter_us: adapter::load_us(inputs, settings, member),
        others_us: work_us.saturating_mul(prefills) / OTHERS_PARTS,
    }
}

/// What is likely to be done of the prompt that the endpoint is at, in tokens: as many as it processes in the time since it began
/// with that, but no more than the mean of its prompts has.
fn done_tokens(inputs: &DecisionInputs<'_>, position: usize, load: Load, tokens_per_second: u64) -> u64 {
    let since_ms = inputs.local.prefilling_ms.get(position).copied().unwrap_or(0);
    let mean_tokens = load.prefill_tokens / u64::from(load.prefills).max(1);
    (since_ms.saturating_mul(tokens_per_second) / 1_000).min(mean_tokens)
}

fn time_us(tokens: u64, tokens_per_second: u64) -> u64 {
    tokens.saturating_mul(1_000_000) / tokens_per_second.max(1)
}

/// Time until `wanted_tokens` fit into the KV cache. Tokens come free at the rate at which those in use end: use ÷ service
/// time. A full endpoint serves its queue at the rate at which its running requests end.
fn room_us(settings: &LeastTime, member: &EndpointState, tier: Tier, wanted_tokens: u64) -> u64 {
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

fn tier(inputs: &DecisionInputs<'_>, settings: &LeastTime, position: usize) -> Tier {
    let gauges = inputs.member(position).observed.gauges;
    let is_full = gauges.waiting > 0 && gauges.kv_used_ppm.is_some_and(|used| used >= settings.full_kv_ppm);
    match inputs.standing(position) {
        Standing::Sound if is_full => Tier::Full,
        Standing::Sound => Tier::Open,
        Standing::Stale => Tier::Stale,
        Standing::Failing => Tier::Failing,
        Standing::Down => Tier::Down,
    }
}
