//! How full the endpoints of a pool are, as flow control measures it.

use signalbox_flow::{EndpointUse, Freshness, Saturation};

use super::Pool;
use crate::pool_state::{Circuit, EndpointState, ScrapeStatus};

impl Pool {
    /// Returns how full the pool is at `now_ms`; `None` if it has no endpoint that takes new requests.
    pub fn saturation(&self, now_ms: u64) -> Option<f64> {
        self.assess_saturation(now_ms).map(|saturation| saturation.value)
    }

    /// Endpoints that should get no request count only if there are no others: then requests go to them.
    pub(super) fn assess_saturation(&self, now_ms: u64) -> Option<Saturation> {
        let detector = self.pool_state.flows().settings().detector;
        let endpoints = self.pool_state.endpoints().filter(|of| !of.spec.is_draining);
        let (serving, others): (Vec<_>, Vec<_>) = endpoints.partition(|of| is_serving(of));
        let counted = if serving.is_empty() { others } else { serving };
        let uses: Vec<_> = counted.into_iter().map(|of| self.endpoint_use(of, now_ms)).collect();
        detector.assess(&uses)
    }

    fn endpoint_use(&self, endpoint_state: &EndpointState, now_ms: u64) -> EndpointUse {
        let (observed, rates) = (&endpoint_state.observed, endpoint_state.assessment.rates);
        let (load, began_ms) = self.pool_state.loads().total_with_prefill(endpoint_state.key);
        let tokens_per_second = u64::from(rates.prefill_tokens_per_second);
        // As a decision estimates it: at most the mean length of the prompts is processed.
        let mean_tokens = load.prefill_tokens / u64::from(load.prefills).max(1);
        let since_ms = now_ms.saturating_sub(began_ms);
        let processed = (since_ms.saturating_mul(tokens_per_second) / 1_000).min(mean_tokens);
        EndpointUse {
            freshness: self.freshness(endpoint_state, now_ms),
            waiting: observed.gauges.waiting,
            kv_use: f64::from(observed.gauges.kv_used_ppm.unwrap_or(0)) / 1e6,
            requests: u64::from(load.requests),
            tokens: load.prefill_tokens - processed,
            tokens_per_second,
        }
    }

    /// The last values of a stale endpoint count for as long again as it took to become stale.
    fn freshness(&self, endpoint_state: &EndpointState, now_ms: u64) -> Freshness {
        let observed = &endpoint_state.observed;
        let since_ms = now_ms.saturating_sub(observed.scrape_status_since_ms);
        match observed.scrape_status {
            ScrapeStatus::Fresh => Freshness::Current,
            ScrapeStatus::Stale if since_ms < self.config.stale_after_ms => Freshness::Current,
            ScrapeStatus::Unknown | ScrapeStatus::Stale | ScrapeStatus::Down => Freshness::Unknown,
        }
    }
}

fn is_serving(endpoint_state: &EndpointState) -> bool {
    let EndpointState { observed, assessment, .. } = endpoint_state;
    observed.scrape_status != ScrapeStatus::Down
        && !observed.is_asleep
        && assessment.circuit == Circuit::Closed
}
