//! The aggregator's metrics.

mod coordinator;
mod flow;
mod pool;
mod pool_watch;
mod signal;
mod streams;

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_state::Digest;
use signalbox_types::PoolId;

pub(crate) use self::coordinator::register_coordinator;
use self::flow::FlowFamilies;
use self::pool::SCRAPE_STATUSES;
pub(crate) use self::pool::{EndpointsFileMetrics, PoolMetrics};
pub(crate) use self::pool_watch::PoolWatchMetrics;
pub(crate) use self::signal::signal_registry;

type UintGauge = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    pool: String,
    scrape_status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    pool: String,
    kind: &'static str,
}

type PerPool<M> = Family<PoolLabel, M>;

/// The aggregator's metrics. [`PoolMetrics`] is the part of one pool.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    owner: PerPool<UintGauge>,
    epoch: PerPool<UintGauge>,
    seq: PerPool<UintGauge>,
    index_blocks: PerPool<UintGauge>,
    history_bytes: PerPool<UintGauge>,
    in_flight_requests: PerPool<UintGauge>,
    takeovers: PerPool<Counter>,
    snapshots_sent: PerPool<Counter>,
    frame_gaps: PerPool<Counter>,
    epochs_refused: PerPool<Counter>,
    origins_expired: PerPool<Counter>,
    chains_requested: PerPool<Counter>,
    chain_requests_expired: PerPool<Counter>,
    chain_requests_dropped: PerPool<Counter>,
    outdated_reports: PerPool<Counter>,
    collectors_dropped: PerPool<Counter>,
    endpoints_with_future_timestamps: PerPool<UintGauge>,
    endpoints: Family<StatusLabel, UintGauge>,
    draining_endpoints: PerPool<UintGauge>,
    state_digest: Family<KindLabel, UintGauge>,
    stalled_seconds: PerPool<UintGauge>,
    flow: FlowFamilies,
    pub(crate) lease_withheld: UintGauge,
    pub(crate) connected_followers: UintGauge,
    pub(crate) connected_collectors: UintGauge,
    pub(crate) invalid_messages: Counter,
    pub(crate) refused_streams: Counter,
    pub(crate) followers_dropped: Counter,
    pub(crate) request_ends_relayed: Counter,
    pub(crate) request_ends_undelivered: Counter,
    endpoints_file_valid: PerPool<UintGauge>,
    endpoints_file_errors: PerPool<Counter>,
    pub(crate) pools: UintGauge,
    pub(crate) pool_watch: PoolWatchMetrics,
}

impl Metrics {
    /// Creates the metrics and adds them to `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { pool_watch: PoolWatchMetrics::register(registry), ..Self::default() };
        metrics.register_pool_gauges(registry);
        for (name, help, family) in metrics.pool_counters() {
            registry.register(name, help, family.clone());
        }
        metrics.register_streams(registry);
        metrics.flow.register(registry);
        metrics.register_refusals(registry);
        registry.register("pools", "Pools that this aggregator serves", metrics.pools.clone());
        registry.register(
            "endpoints_file_valid",
            "1 if the pool's endpoints file is valid; 0 if it is invalid and its last valid version is in use",
            metrics.endpoints_file_valid.clone(),
        );
        registry.register(
            "endpoints_file_errors",
            "Changes of the pool's endpoints file that were rejected because the file is invalid",
            metrics.endpoints_file_errors.clone(),
        );
        metrics
    }

    fn pool_gauges(&self) -> [(&'static str, &'static str, &PerPool<UintGauge>); 9] {
        [
            ("owner", "1 if this aggregator owns the pool, 0 if it is a standby", &self.owner),
            ("epoch", "Highest known epoch of the pool", &self.epoch),
            ("seq", "Number of changes in the pool's history", &self.seq),
            (
                "index_blocks",
                "Distinct blocks in the prefix index: each is held by at least one endpoint",
                &self.index_blocks,
            ),
            (
                "history_bytes",
                "Estimated memory for the pool's latest history, from which followers continue",
                &self.history_bytes,
            ),
            (
                "in_flight_requests",
                "Requests in flight at all endpoints, booked by all replicas",
                &self.in_flight_requests,
            ),
            (
                "draining_endpoints",
                "Endpoints that take no new requests because they are about to be removed",
                &self.draining_endpoints,
            ),
            (
                "endpoints_with_future_timestamps",
                "Endpoints whose values have timestamps after the owner's current time; above 0 indicates a defect",
                &self.endpoints_with_future_timestamps,
            ),
            (
                "stalled_seconds",
                "For how long the pool's actor has finished no message, if that is longer than a second; else 0",
                &self.stalled_seconds,
            ),
        ]
    }

    fn register_pool_gauges(&self, registry: &mut Registry) {
        for (name, help, family) in self.pool_gauges() {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "endpoints",
            "Endpoints of the pool that take new requests, by scrape status",
            self.endpoints.clone(),
        );
        registry.register(
            "state_digest",
            "Checksum over the pool state by kind of change, modulo 2^53; equal in all processes at the same version",
            self.state_digest.clone(),
        );
        registry.register(
            "lease_withheld",
            "1 while the lease is not renewed because the actor of an own pool is stuck",
            self.lease_withheld.clone(),
        );
    }

    fn pool_counters(&self) -> [(&'static str, &'static str, &PerPool<Counter>); 10] {
        [
            ("takeovers", "Times that this aggregator became the owner of the pool", &self.takeovers),
            ("snapshots_sent", "Snapshots of the pool sent to followers", &self.snapshots_sent),
            (
                "frame_gaps",
                "Frames of the owner that this standby could not apply and requested again",
                &self.frame_gaps,
            ),
            (
                "epochs_refused",
                "Epochs of peers that were ignored, because they cannot be genuine",
                &self.epochs_refused,
            ),
            (
                "origins_expired",
                "Replicas that were silent for longer than the origin TTL and lost their bookings",
                &self.origins_expired,
            ),
            (
                "chains_requested",
                "Placements whose whole chain was requested because the owner did not know their anchor",
                &self.chains_requested,
            ),
            (
                "chain_requests_expired",
                "Placements that were dropped because the requested chain did not arrive in time",
                &self.chain_requests_expired,
            ),
            (
                "chain_requests_dropped",
                "Placements that were dropped because more than 1024 of one replica waited for their chains",
                &self.chain_requests_dropped,
            ),
            (
                "outdated_reports",
                "Reports of endpoints that are no longer assigned to the collector; they are ignored",
                &self.outdated_reports,
            ),
            (
                "collectors_dropped",
                "Collectors that were silent or reconnected, so that their endpoints were reassigned",
                &self.collectors_dropped,
            ),
        ]
    }

    /// Returns the metrics of a pool's endpoints file, and records that it is valid.
    pub(crate) fn endpoints_file(&self, pool: &PoolId) -> EndpointsFileMetrics {
        let label = PoolLabel { pool: pool.to_string() };
        let metrics = EndpointsFileMetrics {
            valid: self.endpoints_file_valid.get_or_create(&label).clone(),
            errors: self.endpoints_file_errors.get_or_create(&label).clone(),
        };
        metrics.record_valid();
        metrics
    }

    /// Returns the metrics of one pool.
    pub(crate) fn pool(&self, pool: &PoolId) -> PoolMetrics {
        let pool = pool.to_string();
        let label = PoolLabel { pool: pool.clone() };
        let gauge = |family: &PerPool<UintGauge>| family.get_or_create(&label).clone();
        let counter = |family: &PerPool<Counter>| family.get_or_create(&label).clone();
        drop(gauge(&self.stalled_seconds));
        PoolMetrics {
            owner: gauge(&self.owner),
            epoch: gauge(&self.epoch),
            seq: gauge(&self.seq),
            index_blocks: gauge(&self.index_blocks),
            history_bytes: gauge(&self.history_bytes),
            in_flight_requests: gauge(&self.in_flight_requests),
            takeovers: counter(&self.takeovers),
            snapshots_sent: counter(&self.snapshots_sent),
            frame_gaps: counter(&self.frame_gaps),
            epochs_refused: counter(&self.epochs_refused),
            origins_expired: counter(&self.origins_expired),
            chains_requested: counter(&self.chains_requested),
            chain_requests_expired: counter(&self.chain_requests_expired),
            chain_requests_dropped: counter(&self.chain_requests_dropped),
            outdated_reports: counter(&self.outdated_reports),
            collectors_dropped: counter(&self.collectors_dropped),
            draining_endpoints: gauge(&self.draining_endpoints),
            endpoints_with_future_timestamps: gauge(&self.endpoints_with_future_timestamps),
            endpoints: SCRAPE_STATUSES.map(|scrape_status| {
                self.endpoints.get_or_create_owned(&StatusLabel { pool: pool.clone(), scrape_status })
            }),
            flow: self.flow.pool(label.clone()),
            state_digest: Digest::default().gauge_values().map(|(kind, _)| {
                self.state_digest.get_or_create_owned(&KindLabel { pool: pool.clone(), kind })
            }),
            pool,
        }
    }

    /// Sets for how long a pool's actor has been stuck.
    pub(crate) fn set_stalled(&self, pool: &PoolId, seconds: u64) {
        self.stalled_seconds.get_or_create(&PoolLabel { pool: pool.to_string() }).set(seconds);
    }

    /// Removes the series of a pool that is gone.
    pub(crate) fn remove_pool(&self, pool: &PoolId) {
        let pool = pool.to_string();
        let label = PoolLabel { pool: pool.clone() };
        for (_, _, family) in self.pool_gauges() {
            family.remove(&label);
        }
        for (_, _, family) in self.pool_counters() {
            family.remove(&label);
        }
        self.flow.remove(&label);
        for scrape_status in SCRAPE_STATUSES {
            self.endpoints.remove(&StatusLabel { pool: pool.clone(), scrape_status });
        }
        for (kind, _) in Digest::default().gauge_values() {
            self.state_digest.remove(&KindLabel { pool: pool.clone(), kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;
    use signalbox_state::{PoolConfig, PoolRole, PoolRoleConfig};
    use signalbox_types::PoolSpec;

    use super::*;

    #[test]
    fn series_of_a_pool_vanish_with_it() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let page = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let before = page();
        let id = |name: &str| PoolId { namespace: "default".to_owned(), name: name.to_owned() };
        let pools = ["a", "b"].map(|name| metrics.pool(&id(name)));
        for (name, metrics) in ["a", "b"].into_iter().zip(&pools) {
            let spec = PoolSpec { id: id(name), endpoints: Vec::new(), models: Arc::default() };
            let config = PoolRoleConfig {
                name: "aggregator".to_owned(),
                pool_hash: 0,
                pool: PoolConfig::default(),
                takeover_wait_ms: 0,
                lease_ttl_ms: 2_000,
                failback_after_ms: 0,
            };
            metrics.update(&PoolRole::new(config, Arc::new(spec)), 0);
        }
        assert!(page().contains("default/a") && page().contains("default/b"));
        metrics.remove_pool(&id("a"));
        assert!(!page().contains("default/a") && page().contains("default/b"));
        metrics.remove_pool(&id("b"));
        assert_eq!(before, page());
    }
}
