//! What flow control reads of an endpoint.

use signalbox_flow::{EndpointUse, Freshness};
use signalbox_types::{Load, PPM};

use super::assessment::Circuit;
use super::endpoint_state::EndpointState;
use super::observed::ScrapeStatus;

/// Uncached tokens that count for the prompt of a waiting request that no replica has booked.
pub const UNBOOKED_PROMPT_TOKENS: u64 = 1_000;

/// The used share of the KV cache at which it has no room, in parts per million.
pub const FULL_KV_PPM: u32 = PPM / 100 * 98;

impl EndpointState {
    /// Returns whether requests go to the endpoint while there are others.
    pub fn is_serving(&self) -> bool {
        self.observed.scrape_status != ScrapeStatus::Down
            && !self.observed.is_asleep
            && self.assessment.circuit == Circuit::Closed
    }

    /// Returns how full the endpoint is with `load`, `since_ms` milliseconds after it started with its current prompt.
    pub fn usage(&self, load: Load, since_ms: u64, freshness: Freshness) -> EndpointUse {
        let (gauges, rates) = (&self.observed.gauges, self.assessment.rates);
        let tokens_per_second = u64::from(rates.prefill_tokens_per_second);
        let unprocessed_tokens = load.unprocessed_tokens(since_ms, tokens_per_second);
        EndpointUse {
            freshness,
            waiting: gauges.waiting,
            kv_use: f64::from(gauges.kv_used_ppm.unwrap_or(0)) / f64::from(PPM),
            requests: u64::from(load.requests),
            tokens: unprocessed_tokens,
            other_wait_ms: self.unbooked_wait_ms(freshness),
            free_kv_tokens: self.free_kv_tokens(unprocessed_tokens, freshness),
            tokens_per_second,
        }
    }

    /// Returns for how long a prompt waits besides for booked ones, in milliseconds: for unbooked ones.
    fn unbooked_wait_ms(&self, freshness: Freshness) -> u64 {
        if !self.has_fresh_metrics(freshness) {
            return 0;
        }
        let unbooked = u64::from(self.observed.unbooked_requests.min(self.observed.gauges.waiting));
        let rate = u64::from(self.assessment.rates.prefill_tokens_per_second).max(1);
        unbooked * UNBOOKED_PROMPT_TOKENS * 1_000 / rate
    }

    /// Returns for how many tokens the KV cache has room besides running requests and prompts that are not processed yet, which
    /// the metrics do not show there. What is left beyond that is for the output of running requests.
    fn free_kv_tokens(&self, unprocessed_tokens: u64, freshness: Freshness) -> Option<u64> {
        if !self.has_fresh_metrics(freshness) {
            return None;
        }
        let gauges = self.observed.gauges;
        let used_ppm = gauges.kv_used_ppm?;
        // Where nothing runs, only blocks are left that can be evicted.
        let is_idle = gauges.running == Some(0) && gauges.waiting == 0;
        let free_ppm = if is_idle { FULL_KV_PPM } else { FULL_KV_PPM.saturating_sub(used_ppm) };
        if free_ppm == 0 {
            return Some(0);
        }
        let free_tokens =
            u128::from(self.observed.capacity?.kv_tokens) * u128::from(free_ppm) / u128::from(PPM);
        Some(u64::try_from(free_tokens).unwrap_or(u64::MAX).saturating_sub(unprocessed_tokens))
    }

    /// Those of a while ago would keep idle endpoints full.
    fn has_fresh_metrics(&self, freshness: Freshness) -> bool {
        freshness == Freshness::Current && self.observed.scrape_status == ScrapeStatus::Fresh
    }
}
