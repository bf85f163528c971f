//! Metrics of flow control. They are of all replicas of a pool together, so only its owner has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_state::Pool;

use super::{PoolLabel, UintGauge};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BandLabel {
    pool: String,
    priority: i32,
}

type FloatGauge = Gauge<f64, AtomicU64>;

impl PoolLabel {
    fn band(&self, priority: i32) -> BandLabel {
        BandLabel { pool: self.pool.clone(), priority }
    }
}

/// The families of the metrics of flow control.
#[derive(Clone, Debug, Default)]
pub(super) struct FlowFamilies {
    saturation: Family<PoolLabel, FloatGauge>,
    drained_requests: Family<PoolLabel, FloatGauge>,
    drained_tokens: Family<PoolLabel, UintGauge>,
    waiting_requests: Family<BandLabel, UintGauge>,
    waiting_tokens: Family<BandLabel, UintGauge>,
    /// The bands of each pool that have series.
    priorities: Arc<Mutex<BTreeMap<PoolLabel, BTreeSet<i32>>>>,
}

/// The metrics of flow control of one pool.
#[derive(Debug)]
pub(super) struct FlowMetrics {
    families: FlowFamilies,
    label: PoolLabel,
}

impl FlowFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "saturation",
            "How full the pool is, at its owner: 0 is idle; 1 is full, or without endpoints",
            self.saturation.clone(),
        );
        registry.register(
            "drained_requests_per_second",
            "Requests per second that left the queues of all replicas for an endpoint lately, at the pool's owner",
            self.drained_requests.clone(),
        );
        registry.register(
            "drained_tokens_per_second",
            "Uncached prompt tokens and expected output tokens of the requests that left the queues per second",
            self.drained_tokens.clone(),
        );
        registry.register(
            "waiting_requests",
            "Requests of one priority that wait at all replicas for a place at an endpoint, at the pool's owner",
            self.waiting_requests.clone(),
        );
        registry.register(
            "waiting_tokens",
            "Uncached prompt tokens and expected output tokens of the requests that wait",
            self.waiting_tokens.clone(),
        );
    }

    pub(super) fn pool(&self, label: PoolLabel) -> FlowMetrics {
        FlowMetrics { families: self.clone(), label }
    }

    /// Removes the series of a pool.
    pub(super) fn remove(&self, label: &PoolLabel) {
        self.saturation.remove(label);
        self.drained_requests.remove(label);
        self.drained_tokens.remove(label);
        for priority in self.priorities().remove(label).into_iter().flatten() {
            self.waiting_requests.remove(&label.band(priority));
            self.waiting_tokens.remove(&label.band(priority));
        }
    }

    fn priorities(&self) -> MutexGuard<'_, BTreeMap<PoolLabel, BTreeSet<i32>>> {
        self.priorities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlowMetrics {
    /// Sets the series to the values of the pool at `pool_now_ms` of its clock. Removes them if this aggregator does not own it.
    pub(super) fn update(&self, pool: Option<&Pool>, pool_now_ms: u64) {
        let (families, label) = (&self.families, &self.label);
        let Some(pool) = pool else { return families.remove(label) };
        let flows = pool.pool_state().flows();
        let rate = flows.drain_rate();
        families.saturation.get_or_create(label).set(pool.saturation(pool_now_ms).unwrap_or(1.0));
        families.drained_requests.get_or_create(label).set(rate.requests_per_second());
        families.drained_tokens.get_or_create(label).set(rate.tokens_per_second);
        let mut all = families.priorities();
        let priorities = all.entry(label.clone()).or_default();
        priorities.extend(flows.waiting().map(|(priority, _)| priority));
        for priority in priorities.iter() {
            let waits = flows.waiting().find(|(of, _)| of == priority);
            let usage = waits.map(|(_, usage)| usage).unwrap_or_default();
            let label = label.band(*priority);
            families.waiting_requests.get_or_create(&label).set(usage.requests);
            families.waiting_tokens.get_or_create(&label).set(usage.tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use signalbox_flow::{Backlog, FlowKey, Usage};
    use signalbox_state::{Feedback, FlowReport, GaugeScope, PoolConfig, PoolInput};
    use signalbox_types::Origin;

    use super::*;

    #[test]
    fn owner_tells_what_waits_at_all_replicas() {
        let (mut registry, families) = (Registry::default(), FlowFamilies::default());
        families.register(&mut registry);
        let page = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let (empty, metrics) = (page(), families.pool(PoolLabel { pool: "default/a".to_owned() }));
        let mut pool = Pool::new(1, PoolConfig::default());
        for origin in 1..=2 {
            pool.handle(0, PoolInput::Feedback(feedback(Origin(origin), 3)));
        }
        metrics.update(Some(&pool), 0);
        let lines = [
            r#"waiting_requests{pool="default/a",priority="-10"} 6"#,
            r#"waiting_tokens{pool="default/a",priority="-10"} 600"#,
            r#"saturation{pool="default/a"} 1.0"#,
        ];
        let text = page();
        assert!(lines.iter().all(|line| text.contains(line)), "{text}");
        metrics.update(None, 0);
        assert_eq!(empty, page());
    }

    fn feedback(origin: Origin, requests: u64) -> Feedback {
        let usage = Usage { requests, bytes: 0, tokens: 100 * requests };
        let backlog = Backlog { usage, oldest_wait_ms: 0, released: 0 };
        let backlogs = vec![(FlowKey::new(-10, "a"), backlog)];
        let flows = FlowReport { backlogs, ..FlowReport::default() };
        Feedback { epoch: 1, flows, ..Feedback::new(origin, 1, GaugeScope::All) }
    }
}
