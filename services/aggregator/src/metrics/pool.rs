//! Metrics of one pool.

use prometheus_client::metrics::counter::Counter;
use signalbox_state::{CountedEvent, PoolRole, RoleStatus, ScrapeStatus};

use super::UintGauge;
use super::flow::FlowMetrics;

/// The scrape statuses.
pub(super) const SCRAPE_STATUSES: [&str; 4] = ["unknown", "fresh", "stale", "down"];

/// Metrics of a pool's endpoints file.
#[derive(Debug)]
pub(crate) struct EndpointsFileMetrics {
    pub(super) valid: UintGauge,
    pub(super) errors: Counter,
}

impl EndpointsFileMetrics {
    pub(crate) fn record_valid(&self) {
        self.valid.set(1);
    }

    pub(crate) fn record_invalid(&self) {
        self.valid.set(0);
        self.errors.inc();
    }
}

/// Metrics of one pool.
#[derive(Debug)]
pub(crate) struct PoolMetrics {
    pub(super) pool: String,
    pub(super) owner: UintGauge,
    pub(super) epoch: UintGauge,
    pub(super) seq: UintGauge,
    pub(super) index_blocks: UintGauge,
    pub(super) history_bytes: UintGauge,
    pub(super) in_flight_requests: UintGauge,
    pub(crate) takeovers: Counter,
    pub(crate) snapshots_sent: Counter,
    pub(crate) frame_gaps: Counter,
    pub(crate) epochs_refused: Counter,
    pub(super) origins_expired: Counter,
    pub(crate) chains_requested: Counter,
    pub(super) chain_requests_expired: Counter,
    pub(super) chain_requests_dropped: Counter,
    pub(super) outdated_reports: Counter,
    pub(crate) collectors_dropped: Counter,
    pub(super) endpoints_with_future_timestamps: UintGauge,
    /// By scrape status, in the order of [`SCRAPE_STATUSES`].
    pub(super) endpoints: [UintGauge; SCRAPE_STATUSES.len()],
    pub(super) draining_endpoints: UintGauge,
    pub(super) flow: FlowMetrics,
    /// By kind of change, in the order of the digest.
    pub(super) state_digest: [UintGauge; 10],
}

impl PoolMetrics {
    /// Counts an event.
    pub(crate) fn record(&self, event: CountedEvent) {
        match event {
            CountedEvent::OriginExpired(origin) => {
                tracing::warn!(pool = self.pool, %origin, "a replica is silent; removing its bookings");
                self.origins_expired.inc();
            }
            CountedEvent::PlacementsDropped(count) => {
                self.chain_requests_expired.inc_by(count as u64);
            }
            CountedEvent::ChainRequestsDropped(origin, count) => {
                if self.chain_requests_dropped.inc_by(count as u64) == 0 {
                    let pool = &self.pool;
                    tracing::warn!(pool, %origin, count, "too many chains are requested of a replica; dropping the earliest");
                }
            }
            CountedEvent::ReportOutdated(_) => {
                self.outdated_reports.inc();
            }
        }
    }

    /// Sets the gauges to the values of `role` at `now_ms` of this process's clock.
    pub(crate) fn update(&self, role: &PoolRole, now_ms: u64) {
        let is_owner = matches!(role.status(), RoleStatus::Owner(_));
        self.owner.set(u64::from(is_owner));
        self.epoch.set(role.epoch());
        self.seq.set(role.version().map_or(0, |version| version.seq));
        self.index_blocks.set(role.pool_state().index_writer().index().len() as u64);
        self.history_bytes.set(role.history_bytes() as u64);
        let mut counts = [0; SCRAPE_STATUSES.len()];
        let (mut in_flight_requests, mut with_future_timestamps, mut draining) = (0, 0, 0);
        for endpoint in role.pool_state().endpoints() {
            match endpoint.observed.scrape_status {
                _ if endpoint.spec.is_draining => draining += 1,
                ScrapeStatus::Unknown => counts[0] += 1,
                ScrapeStatus::Fresh => counts[1] += 1,
                ScrapeStatus::Stale => counts[2] += 1,
                ScrapeStatus::Down => counts[3] += 1,
            }
            in_flight_requests += u64::from(role.pool_state().loads().total(endpoint.key).requests);
            // Timestamps are on the owner's clock, so only the owner can compare them.
            with_future_timestamps +=
                u64::from(is_owner && endpoint.observed.scrape_status_since_ms > role.pool_now_ms(now_ms));
        }
        self.flow.update(role.pool(), role.pool_now_ms(now_ms));
        self.endpoints_with_future_timestamps.set(with_future_timestamps);
        self.in_flight_requests.set(in_flight_requests);
        self.draining_endpoints.set(draining);
        for (gauge, count) in self.endpoints.iter().zip(counts) {
            gauge.set(count);
        }
        for (gauge, (_, sum)) in self.state_digest.iter().zip(role.pool_state().digest().gauge_values()) {
            gauge.set(sum);
        }
    }
}
