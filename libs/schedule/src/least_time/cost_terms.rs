//! The cost of serving a request at one endpoint.

use serde::{Deserialize, Serialize};
use signalbox_state::EndpointState;
use signalbox_types::Rates;

use super::adapter_cost::adapter_cost_us;
use super::room::{MAX_EXPECTED_US, WantedRoom, room_us};
use super::settings::LeastTime;
use super::tier::Tier;
use crate::decision_inputs::DecisionInputs;

/// Number of output tokens for which the load of two endpoints differs: by then some requests have ended and
/// others have arrived.
const INTERFERENCE_TOKENS: u64 = 8;

/// The terms of an endpoint's cost for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTerms {
    /// Tier of the endpoint.
    pub tier: Tier,
    /// Prompt tokens that the endpoint holds.
    pub cached_tokens: u64,
    /// Prompt tokens that the endpoint must process before it starts with this prompt.
    pub ahead_tokens: u64,
    /// Requests at the endpoint: booked by all replicas, and unbooked.
    pub requests: u64,
    /// Requests among them whose prompts are not processed yet.
    pub prefills: u64,
    /// Time until the endpoint starts with the prompt, in microseconds.
    pub wait_us: u64,
    /// Time to process the uncached part of the prompt, in microseconds.
    pub prefill_us: u64,
    /// Delay of the first output tokens by the other requests there, in microseconds.
    pub interference_us: u64,
    /// Time to generate the whole output, in microseconds. Only informative: it is not part of the cost,
    /// because a long output takes long at every endpoint.
    pub decode_us: u64,
    /// Surcharge for an endpoint that started recently, in microseconds.
    pub ramp_us: u64,
    /// Delay of other requests: prefill time × the requests that are likely to arrive meanwhile, in
    /// microseconds.
    pub others_us: u64,
    /// Time until the endpoint has the requested LoRA adapter, in microseconds. Includes the cost of evicting
    /// another one.
    pub adapter_us: u64,
}

impl CostTerms {
    /// Returns the expected time until the prompt is processed, in microseconds: at most 10 minutes.
    pub fn prefill_done_us(&self) -> u64 {
        let Self { wait_us, prefill_us, ramp_us, adapter_us, .. } = *self;
        let sum = [wait_us, prefill_us, ramp_us, adapter_us].into_iter().fold(0, u64::saturating_add);
        sum.min(MAX_EXPECTED_US)
    }

    /// Returns the expected duration of the request, in microseconds: at most 10 minutes. Nothing that is derived
    /// from estimates may hold a booking for longer.
    pub fn expected_duration_us(&self) -> u64 {
        self.prefill_done_us().saturating_add(self.decode_us).min(MAX_EXPECTED_US)
    }

    /// Returns the whole cost, in microseconds: the time until the output is under way, and the delay of
    /// other requests.
    pub fn total_us(&self) -> u64 {
        let Self { wait_us, prefill_us, interference_us, ramp_us, adapter_us, others_us, .. } = *self;
        let terms = [wait_us, prefill_us, interference_us, ramp_us, adapter_us, others_us];
        terms.into_iter().fold(0, u64::saturating_add)
    }
}

/// Returns the cost terms of the request at `endpoint`, which is the one at `position`.
///
/// - wait: prompt tokens ahead ÷ prefill rate, less the estimated progress on the current prompt; and, if the KV
///   cache has no room for them and this prompt, the time until enough running requests end
/// - prefill: uncached tokens ÷ prefill rate
/// - interference: at most the first 8 output tokens × requests there × interference per request
/// - adapter: see [`adapter_cost_us`]
/// - ramp: (prefill + interference) × ramp percent
/// - others: prefill × requests there whose prompts are not processed. Those requests are ahead and not
///   delayed, but about as many are likely to arrive until they are done (L = λ·W, Little 1961)
pub(crate) fn cost_terms(
    inputs: &DecisionInputs<'_>,
    settings: &LeastTime,
    (position, endpoint): (usize, &EndpointState),
) -> CostTerms {
    let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } =
        endpoint.assessment.rates;
    let cached_tokens = inputs.cached_tokens(position);
    let uncached_tokens = inputs.request.prompt_tokens - cached_tokens;
    // An endpoint must not attract requests by failing them quickly.
    let load = inputs.local.expected_load_at(position);
    let unbooked_requests = u64::from(endpoint.observed.unbooked_requests);
    let unbooked_waiting = unbooked_requests.min(u64::from(endpoint.observed.gauges.waiting));
    let rate = u64::from(prefill_tokens_per_second);
    let booked_tokens = load.unprocessed_tokens(inputs.local.prefilling_ms_at(position), rate);
    let ahead_tokens = booked_tokens.saturating_add(unbooked_waiting * settings.unbooked_prompt_tokens);
    let requests = u64::from(load.requests) + unbooked_requests;
    let prefills = u64::from(load.prefills) + unbooked_waiting;
    let output_tokens = inputs.request.expected_output_tokens();
    let tier = Tier::of(inputs, settings, endpoint);
    let wanted = WantedRoom { prompt_tokens: inputs.request.prompt_tokens, uncached_tokens, ahead_tokens };
    let room_us = room_us(settings, endpoint, tier, wanted);
    let prefill_us = time_us(uncached_tokens, rate);
    let token_delay_us = requests * u64::from(decode_interference_us);
    let interference_us = output_tokens.min(INTERFERENCE_TOKENS) * token_delay_us;
    let ramp_percent = u64::from(endpoint.assessment.ramp_percent);
    CostTerms {
        tier,
        cached_tokens,
        ahead_tokens,
        requests,
        prefills,
        wait_us: time_us(ahead_tokens, rate).saturating_add(room_us),
        prefill_us,
        interference_us,
        decode_us: output_tokens * (u64::from(decode_token_us) + token_delay_us),
        ramp_us: prefill_us.saturating_add(interference_us).saturating_mul(ramp_percent) / 100,
        adapter_us: adapter_cost_us(inputs, settings, endpoint),
        others_us: prefill_us.saturating_mul(prefills),
    }
}

fn time_us(tokens: u64, tokens_per_second: u64) -> u64 {
    tokens.saturating_mul(1_000_000) / tokens_per_second.max(1)
}
