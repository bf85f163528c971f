//! How full the endpoints of a pool are, as flow control measures it.

use signalbox_flow::{EndpointUse, Freshness, Saturation};

use super::Pool;
use crate::pool_state::{EndpointState, ScrapeStatus};

impl Pool {
    /// Returns how full the pool is at `now_ms`; `None` if it has no endpoint that takes new requests.
    pub fn saturation(&self, now_ms: u64) -> Option<f64> {
        self.assess_saturation(now_ms).map(|saturation| saturation.value)
    }

    /// Endpoints that should get no request count only if there are no others: then requests go to them.
    pub(super) fn assess_saturation(&self, now_ms: u64) -> Option<Saturation> {
        let detector = self.pool_state.flows().settings().detector;
        let endpoints = self.pool_state.endpoints().filter(|of| !of.spec.is_draining);
        let (serving, others): (Vec<_>, Vec<_>) = endpoints.partition(|of| of.is_serving());
        let counted = if serving.is_empty() { others } else { serving };
        let uses: Vec<_> = counted.into_iter().map(|of| self.endpoint_use(of, now_ms)).collect();
        detector.assess(&uses)
    }

    pub(super) fn endpoint_use(&self, endpoint_state: &EndpointState, now_ms: u64) -> EndpointUse {
        let (load, began_ms) = self.pool_state.loads().total_with_prefill(endpoint_state.key);
        let freshness = self.freshness(endpoint_state, now_ms);
        endpoint_state.usage(load, now_ms.saturating_sub(began_ms), freshness)
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
