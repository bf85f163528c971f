//! Updates the assessments and adapters of endpoints from the outcomes of their requests.

use std::sync::Arc;

use signalbox_types::{Adapters, EndpointKey, Rates};

use super::Pool;
use super::endpoint_assessor::EndpointAssessor;
use crate::pool_state::Change;
use crate::reports::ResponseReport;

/// The maximum number of adapters that a pool knows. It bounds the memory if an endpoint reports made-up
/// names.
const MAX_ADAPTERS: usize = 16_384;

impl Pool {
    /// Returns the typical rates of the pool's endpoints: the median of the estimates.
    pub(super) fn typical_rates(&self) -> Rates {
        let estimated_rates: Vec<_> =
            self.assessors.values().map(EndpointAssessor::estimated_rates).collect();
        let median = |of: fn(&Rates) -> u32| {
            let mut all: Vec<_> = estimated_rates.iter().map(of).collect();
            let middle = all.len() / 2;
            if all.is_empty() { of(&Rates::default()) } else { *all.select_nth_unstable(middle).1 }
        };
        Rates {
            prefill_tokens_per_second: median(|rates| rates.prefill_tokens_per_second),
            decode_token_us: median(|rates| rates.decode_token_us),
            decode_interference_us: median(|rates| rates.decode_interference_us),
        }
    }

    /// Commits the assessment of an endpoint in a pool with the rates `typical`, if it changed.
    pub(super) fn assess(&mut self, now_ms: u64, typical: Rates, endpoint: EndpointKey) {
        let Some(before) = self.pool_state.endpoint(endpoint).map(|endpoint_state| endpoint_state.assessment)
        else {
            return;
        };
        let Some(assessor) = self.assessors.get_mut(&endpoint) else { return };
        if let Some(assessment) = assessor.assess(now_ms, typical, before) {
            self.commit(Change::Assessed { endpoint, assessment });
        }
    }

    pub(super) fn handle_response(&mut self, now_ms: u64, response: ResponseReport) {
        let ResponseReport { endpoint, outcome } = response;
        let Some(endpoint_state) = self.pool_state.endpoint(endpoint) else { return };
        let running = endpoint_state.observed.gauges.running;
        let Some(assessor) = self.assessors.get_mut(&endpoint) else { return };
        let circuit = endpoint_state.assessment.circuit;
        assessor.record_response(now_ms, outcome, running);
        // Rates can wait for the next tick; a change of the circuit cannot.
        if assessor.circuit(now_ms) != circuit {
            self.assess(now_ms, self.typical_rates(), endpoint);
        }
    }

    /// Handles the adapters that an endpoint reports.
    pub(super) fn handle_adapter_report(&mut self, endpoint: EndpointKey, reported: &Adapters) {
        let room = MAX_ADAPTERS.saturating_sub(self.adapters.len());
        let new =
            reported.running.iter().chain(&reported.waiting).filter(|name| !self.adapters.contains(*name));
        let new: Vec<_> = new.take(room).cloned().collect();
        self.adapters.extend(new);
        if let Some(assessor) = self.assessors.get_mut(&endpoint) {
            assessor.adapters.record_report(reported);
        }
        self.publish_adapters(endpoint);
    }

    /// Records that a replica sent a request for `adapter` to the endpoint.
    pub(super) fn handle_adapter_use(&mut self, endpoint: EndpointKey, adapter: &Arc<str>) {
        let Some(adapter) = self.adapters.get(adapter).cloned() else { return };
        if let Some(assessor) = self.assessors.get_mut(&endpoint) {
            assessor.adapters.record_use(&adapter);
        }
        self.publish_adapters(endpoint);
    }

    /// Commits where the adapters of an endpoint are, if that changed.
    pub(super) fn publish_adapters(&mut self, endpoint: EndpointKey) {
        let (Some(endpoint_state), Some(assessor)) =
            (self.pool_state.endpoint(endpoint), self.assessors.get(&endpoint))
        else {
            return;
        };
        let residency = assessor.adapters.residency();
        if endpoint_state.adapters.as_deref() != Some(&residency) {
            self.commit(Change::AdaptersChanged { endpoint, residency: Arc::new(residency) });
        }
    }
}
