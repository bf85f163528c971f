//! What flow control reads of an endpoint.

use signalbox_flow::{EndpointUse, Freshness};
use signalbox_types::{Load, PPM};

use super::assessment::Circuit;
use super::endpoint_state::EndpointState;
use super::observed::ScrapeStatus;

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
            tokens_per_second,
        }
    }
}
