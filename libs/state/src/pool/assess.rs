//! What the owner makes of an endpoint by what came of the requests there, and which adapters it has.

use std::sync::Arc;

use signalbox_types::{Adapters, EndpointKey, Rates};

use super::Pool;
use crate::change::Change;
use crate::endpoint_assessor::EndpointAssessor;
use crate::feedback::ResponseReport;

/// Adapters that a pool knows. An endpoint that makes up names does not fill the memory.
const ADAPTERS_AT_MOST: usize = 16_384;

impl Pool {
    /// How fast the pool's endpoints typically are: the median of what is learnt.
    pub(super) fn typical_rates(&self) -> Rates {
        let learnt: Vec<_> = self.records.values().map(EndpointAssessor::learnt).collect();
        let median = |of: fn(&Rates) -> u32| {
            let mut all: Vec<_> = learnt.iter().map(of).collect();
            let middle = all.len() / 2;
            if all.is_empty() { of(&Rates::default()) } else { *all.select_nth_unstable(middle).1 }
        };
        Rates {
            prefill_tokens_per_second: median(|rates| rates.prefill_tokens_per_second),
            decode_token_us: median(|rates| rates.decode_token_us),
            decode_interference_us: median(|rates| rates.decode_interference_us),
        }
    }

    /// Publishes what is to be made of an endpoint in a pool with the rates `typical`, where that changed.
    pub(super) fn assess(&mut self, now_ms: u64, typical: Rates, endpoint: EndpointKey) {
        let Some(before) = self.pool_state.member(endpoint).map(|member| member.assessment) else { return };
        let Some(record) = self.records.get_mut(&endpoint) else { return };
        if let Some(assessment) = record.assess(now_ms, typical, before) {
            self.commit(Change::Assessed { endpoint, assessment });
        }
    }

    pub(super) fn fold_answer(&mut self, now_ms: u64, answer: ResponseReport) {
        let ResponseReport { endpoint, answered } = answer;
        let Some(member) = self.pool_state.member(endpoint) else { return };
        let running = member.observed.gauges.running;
        let Some(record) = self.records.get_mut(&endpoint) else { return };
        let circuit = member.assessment.circuit;
        record.answered(now_ms, answered, running);
        // Rates can wait for the next tick; a circuit cannot.
        if record.circuit(now_ms) != circuit {
            self.assess(now_ms, self.typical_rates(), endpoint);
        }
    }

    /// The endpoint told of its adapters.
    pub(super) fn fold_adapters(&mut self, endpoint: EndpointKey, seen: &Adapters) {
        let room = ADAPTERS_AT_MOST.saturating_sub(self.adapters.len());
        let new = seen.running.iter().chain(&seen.waiting).filter(|name| !self.adapters.contains(*name));
        let new: Vec<_> = new.take(room).cloned().collect();
        self.adapters.extend(new);
        if let Some(record) = self.records.get_mut(&endpoint) {
            record.adapters.told(seen);
        }
        self.shelve(endpoint);
    }

    /// A replica sent a request for `adapter` to the endpoint.
    pub(super) fn fold_adapter(&mut self, endpoint: EndpointKey, adapter: &Arc<str>) {
        let Some(adapter) = self.adapters.get(adapter).cloned() else { return };
        if let Some(record) = self.records.get_mut(&endpoint) {
            record.adapters.used(&adapter);
        }
        self.shelve(endpoint);
    }

    /// Publishes which adapters are where at an endpoint, where that changed.
    pub(super) fn shelve(&mut self, endpoint: EndpointKey) {
        let (Some(member), Some(record)) = (self.pool_state.member(endpoint), self.records.get(&endpoint))
        else {
            return;
        };
        let residency = record.adapters.residency();
        if member.adapters.as_deref() != Some(&residency) {
            self.commit(Change::AdaptersChanged { endpoint, residency: Arc::new(residency) });
        }
    }
}
