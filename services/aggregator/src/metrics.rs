//! What an aggregator exports.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_state::{Pool, Reach};

type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReachLabel {
    reach: &'static str,
}

/// What an aggregator exports.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    epoch: Level,
    seq: Level,
    endpoints: Family<ReachLabel, Level>,
    blocks: Level,
    in_flight: Level,
    pub(crate) snapshots: Counter,
    pub(crate) subscribers: Level,
    pub(crate) collectors: Level,
    pub(crate) refused_messages: Counter,
    pub(crate) endpoints_file_valid: Level,
    pub(crate) endpoints_file_errors: Counter,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("epoch", "Epoch of this owner", metrics.epoch.clone());
        registry.register("seq", "Number of changes in the pool's history", metrics.seq.clone());
        registry.register("endpoints", "Endpoints by how well they can be read", metrics.endpoints.clone());
        registry.register("blocks", "Distinct blocks of prompt held by any endpoint", metrics.blocks.clone());
        registry.register("in_flight_requests", "Requests booked by all replicas", metrics.in_flight.clone());
        registry.register("snapshots", "Snapshots given to followers", metrics.snapshots.clone());
        registry.register("subscribers", "Followers connected", metrics.subscribers.clone());
        registry.register("collectors", "Collectors connected", metrics.collectors.clone());
        registry.register(
            "refused_messages",
            "Messages that are not of this version",
            metrics.refused_messages.clone(),
        );
        registry.register(
            "endpoints_file_valid",
            "1 when the endpoints file was good when it was last read, else 0: the last good one is in use",
            metrics.endpoints_file_valid.clone(),
        );
        registry.register(
            "endpoints_file_errors",
            "Times that a changed endpoints file was refused",
            metrics.endpoints_file_errors.clone(),
        );
        metrics
    }

    /// Shows `pool` as it is now.
    pub(crate) fn show(&self, pool: &Pool) {
        let head = pool.journal().head();
        self.epoch.set(head.epoch);
        self.seq.set(head.seq);
        self.blocks.set(pool.picture().residents().index().len() as u64);
        let mut counts = [("unknown", 0), ("fresh", 0), ("stale", 0), ("down", 0)];
        let mut in_flight = 0;
        for member in pool.picture().members() {
            let at = match member.observed.reach {
                Reach::Unknown => 0,
                Reach::Fresh => 1,
                Reach::Stale => 2,
                Reach::Down => 3,
            };
            counts[at].1 += 1;
            in_flight += u64::from(member.load().requests);
        }
        self.in_flight.set(in_flight);
        for (reach, count) in counts {
            self.endpoints.get_or_create(&ReachLabel { reach }).set(count);
        }
    }
}
