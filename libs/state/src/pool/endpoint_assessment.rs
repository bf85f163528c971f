//! Updates the assessments and adapters of endpoints from the outcomes of their requests.

use std::sync::Arc;

use signalbox_types::{Adapters, EndpointKey, Rates};

use super::Pool;
use crate::pool_state::Change;
use crate::reports::{ResponseOutcome, ResponseReport, UsageReport};

/// The maximum number of adapters that a pool knows. It bounds the memory if an endpoint reports made-up
/// names.
const MAX_ADAPTERS: usize = 16_384;

impl Pool {
    /// Finds out what the endpoints show of their speed together. The next round considers all endpoints that this
    /// concerns.
    pub(super) fn update_rates(&mut self) {
        let typical = self.rates.typical;
        let concerned = self.rates.update();
        concerned.into_iter().for_each(|endpoint| self.rounds.touch(endpoint));
        if self.rates.typical != typical {
            self.touch_all();
        }
    }

    /// Restores what all endpoints show of their speed.
    pub(super) fn restore_rates(&mut self) {
        for endpoint_state in self.pool_state.endpoints() {
            if let Some(assessor) = self.assessors.get(&endpoint_state.key) {
                self.rates.record(endpoint_state.key, &endpoint_state.spec.engine, assessor);
            }
        }
        self.update_rates();
    }

    /// Commits the assessment of an endpoint, if it changed.
    pub(super) fn assess(&mut self, now_ms: u64, endpoint: EndpointKey) {
        self.assess_against(now_ms, endpoint, self.rates.typical);
    }

    /// Like [`Self::assess`], with these rates as the typical ones of the pool.
    pub(super) fn assess_against(&mut self, now_ms: u64, endpoint: EndpointKey, typical: Rates) {
        let Some(endpoint_state) = self.pool_state.endpoint(endpoint) else { return };
        let Some(assessor) = self.assessors.get_mut(&endpoint) else { return };
        let engine = &endpoint_state.spec.engine;
        let supported = self.rates.record(endpoint, engine, assessor);
        let probers = self.origins.probers_of(assessor);
        let before = &endpoint_state.assessment;
        let rates = (self.corrections.corrected(supported), self.corrections.corrected(typical));
        if let Some(assessment) = assessor.assess(now_ms, rates, before, &probers) {
            self.commit(Change::Assessed { endpoint, assessment });
        }
    }

    pub(super) fn handle_response(&mut self, now_ms: u64, response: ResponseReport) {
        let ResponseReport { endpoint, model, outcome } = response;
        match outcome {
            ResponseOutcome::Stored(response) => return self.store_response(now_ms, response, endpoint),
            ResponseOutcome::Deleted(response) => return self.forget_response(response, endpoint),
            _ => {}
        }
        let Some(assessor) = self.assessors.get_mut(&endpoint).filter(|of| !of.expects(outcome)) else {
            return;
        };
        let Some(endpoint_state) = self.pool_state.endpoint(endpoint) else { return };
        assessor.record_response(now_ms, model, outcome);
        self.rounds.touch(endpoint);
        // Rates can wait for the next tick; a change of a circuit cannot.
        let probers = self.origins.probers_of(assessor);
        if assessor.has_other_circuits(now_ms, &endpoint_state.assessment, &probers) {
            self.assess(now_ms, endpoint);
        }
    }

    /// Learns the speed of an endpoint from the usage of one response.
    pub(super) fn learn_rates(&mut self, usage: &UsageReport) {
        let Some(endpoint_state) = self.pool_state.endpoint(usage.endpoint) else { return };
        if endpoint_state.observed.incarnation != usage.incarnation {
            return;
        }
        let ranges = self.rates.ranges(&endpoint_state.spec.engine);
        let running = endpoint_state.observed.gauges.running.unwrap_or(0);
        if let Some(assessor) = self.assessors.get_mut(&usage.endpoint) {
            assessor.record_usage(usage, running, ranges);
            self.rounds.touch(usage.endpoint);
        }
    }

    /// Handles the adapters that an endpoint reports.
    pub(super) fn handle_adapter_report(&mut self, endpoint: EndpointKey, reported: &Adapters) {
        let room = MAX_ADAPTERS.saturating_sub(self.adapters.len());
        let loaded = reported.loaded.iter().flat_map(|loaded| loaded.device.iter().chain(&loaded.host));
        let named = reported.running.iter().chain(&reported.waiting).chain(loaded);
        let new = named.filter(|name| !self.adapters.contains(*name));
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use signalbox_types::{EndpointSpec, Engine, Incarnation, MetricsTls, PoolId, PoolSpec};

    use super::*;
    use crate::pool::{CollectorStream, PoolConfig, PoolEffect, PoolInput};
    use crate::reports::{Report, Update};

    fn spec(endpoints: u16) -> PoolInput {
        let endpoint = |index| {
            let address = SocketAddr::from(([10, 0, 0, 1], index));
            let (name, metrics_url) = (format!("pod-{index}"), format!("http://{address}/metrics"));
            EndpointSpec {
                name,
                address,
                metrics_url,
                engine: Engine::Vllm,
                labels: Default::default(),
                is_draining: false,
                metrics_tls: MetricsTls::Verified,
            }
        };
        let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
        let endpoints = (1..=endpoints).map(endpoint).collect();
        PoolInput::Spec(Arc::new(PoolSpec { id, endpoints, models: Arc::default() }))
    }

    #[test]
    fn rates_are_updated_at_most_once_per_input() {
        let stream = CollectorStream(1);
        let mut pool = Pool::new(1, PoolConfig::default());
        pool.handle(0, PoolInput::CollectorJoined(stream, "one".to_owned()));
        let effects = pool.handle(0, spec(50));
        assert_eq!(1, pool.rates.updates, "one update for all new endpoints");
        pool.handle(0, spec(50));
        assert_eq!(1, pool.rates.updates, "none without new endpoints");
        let assigned = effects.into_iter().find_map(|effect| match effect {
            PoolEffect::Assign(_, assigned) => Some(assigned),
            _ => None,
        });
        let assigned = assigned.expect("the endpoints are assigned");
        for incarnation in [1, 2] {
            let update = Update { incarnation: Incarnation(incarnation), ..Update::default() };
            let report =
                |(endpoint, generation)| Report { endpoint, generation, age_ms: 0, update: update.clone() };
            let reports = assigned.iter().map(|of| report((of.endpoint, of.generation))).collect();
            pool.handle(0, PoolInput::Reports(stream, reports));
        }
        let restarted = pool.pool_state.endpoints().filter(|of| of.observed.incarnation == Incarnation(2));
        assert_eq!(50, restarted.count());
        assert_eq!(1, pool.rates.updates, "restarts use the rates of the last tick");
    }
}
