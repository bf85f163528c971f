//! What flow control reads of an endpoint.

use signalbox_flow::{EndpointUse, Freshness};
use signalbox_types::{Load, PPM};

use super::assessment::Circuit;
use super::endpoint_state::EndpointState;
use super::observed::ScrapeStatus;

/// How long a request runs at an endpoint if nothing better is known, in milliseconds.
pub const SERVICE_MS: u64 = 5_000;

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
        EndpointUse {
            freshness,
            waiting: gauges.waiting,
            kv_use: f64::from(gauges.kv_used_ppm.unwrap_or(0)) / f64::from(PPM),
            requests: u64::from(load.requests),
            tokens: load.unprocessed_tokens(since_ms, tokens_per_second),
            other_wait_ms: self.other_wait_ms(freshness),
            tokens_per_second,
        }
    }

    /// Returns for how long a prompt waits besides for booked ones, in milliseconds: for unbooked ones, and, if the KV cache is
    /// full, until the requests that wait for room have it. They get it as running ones end: waiting × service time ÷ running.
    /// Only fresh metrics count. Those of a while ago would keep idle endpoints full.
    fn other_wait_ms(&self, freshness: Freshness) -> u64 {
        let gauges = self.observed.gauges;
        if freshness != Freshness::Current || self.observed.scrape_status != ScrapeStatus::Fresh {
            return 0;
        }
        let unbooked = u64::from(self.observed.unbooked_requests.min(gauges.waiting));
        let rate = u64::from(self.assessment.rates.prefill_tokens_per_second).max(1);
        let unbooked_ms = unbooked * UNBOOKED_PROMPT_TOKENS * 1_000 / rate;
        let is_full = gauges.kv_used_ppm.is_some_and(|used| used >= FULL_KV_PPM);
        let running = u64::from(gauges.running.unwrap_or(0)).max(1);
        let room_ms = if is_full { u64::from(gauges.waiting) * SERVICE_MS / running } else { 0 };
        unbooked_ms.saturating_add(room_ms)
    }
}
