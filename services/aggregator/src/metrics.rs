//! What an aggregator exports.

mod levels;

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_types::PoolId;

pub(crate) use levels::{FileHealth, Levels};

type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReachLabel {
    pool: String,
    scrape_status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    pool: String,
    kind: &'static str,
}

type PerPool<M> = Family<PoolLabel, M>;

/// What an aggregator exports. What it merely holds of each pool is in its [`Levels`].
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    owner: PerPool<Level>,
    epoch: PerPool<Level>,
    seq: PerPool<Level>,
    blocks: PerPool<Level>,
    in_flight: PerPool<Level>,
    takeovers: PerPool<Counter>,
    snapshots: PerPool<Counter>,
    gaps: PerPool<Counter>,
    origins_expired: PerPool<Counter>,
    chains_asked: PerPool<Counter>,
    chains_given_up: PerPool<Counter>,
    reports_outdated: PerPool<Counter>,
    collectors_dropped: PerPool<Counter>,
    dated_ahead: PerPool<Level>,
    endpoints: Family<ReachLabel, Level>,
    digest: Family<KindLabel, Level>,
    pub(crate) subscribers: Level,
    pub(crate) collectors: Level,
    pub(crate) refused_messages: Counter,
    pub(crate) ends_relayed: Counter,
    pub(crate) ends_lost: Counter,
    endpoints_file_valid: PerPool<Level>,
    endpoints_file_errors: PerPool<Counter>,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let levels = [
            ("owner", "1 when this aggregator owns the pool, 0 when it stands by", &metrics.owner),
            ("epoch", "The highest epoch of the pool that is known here", &metrics.epoch),
            ("seq", "Number of changes in the pool's history", &metrics.seq),
            ("blocks", "Distinct blocks of prompt held by any endpoint", &metrics.blocks),
            ("in_flight_requests", "Requests booked by all replicas", &metrics.in_flight),
            ("endpoints_dated_ahead", "Endpoints whose values are from the future", &metrics.dated_ahead),
        ];
        for (name, help, family) in levels {
            registry.register(name, help, family.clone());
        }
        let counters = [
            ("takeovers", "Times that this aggregator began to own the pool", &metrics.takeovers),
            ("snapshots", "Snapshots given to followers", &metrics.snapshots),
            ("gaps", "Frames of the owner that a standby could not take", &metrics.gaps),
            ("origins_expired", "Replicas that were given up with their bookings", &metrics.origins_expired),
            (
                "chains_asked",
                "Placements whose whole chain was asked for, because their anchor was not known",
                &metrics.chains_asked,
            ),
            ("chains_given_up", "Those of them that did not come in time", &metrics.chains_given_up),
            (
                "reports_outdated",
                "Reports of endpoints that the collector is not to read any more",
                &metrics.reports_outdated,
            ),
            (
                "collectors_dropped",
                "Collectors whose endpoints went to others because they were silent or came anew",
                &metrics.collectors_dropped,
            ),
        ];
        for (name, help, family) in counters {
            registry.register(name, help, family.clone());
        }
        registry.register("endpoints", "Endpoints by how well they can be read", metrics.endpoints.clone());
        registry.register(
            "digest",
            "Sum over the state at its version, modulo 2^53, by kind; equal wherever the version is",
            metrics.digest.clone(),
        );
        registry.register("subscribers", "Followers connected", metrics.subscribers.clone());
        registry.register("collectors", "Collectors connected", metrics.collectors.clone());
        registry.register(
            "ends_relayed",
            "Ends of requests that came to be told to the replica that booked them",
            metrics.ends_relayed.clone(),
        );
        registry.register(
            "ends_lost",
            "Those of them whose replica was away or did not read",
            metrics.ends_lost.clone(),
        );
        registry.register(
            "refused_messages",
            "Messages that are not of this version",
            metrics.refused_messages.clone(),
        );
        registry.register(
            "endpoints_file_valid",
            "1 when the pool's endpoints file was good when last read, else 0: the last good one is in use",
            metrics.endpoints_file_valid.clone(),
        );
        registry.register(
            "endpoints_file_errors",
            "Times that the pool's changed endpoints file was refused",
            metrics.endpoints_file_errors.clone(),
        );
        metrics
    }

    /// What is shown of a pool's endpoints file, which is good.
    pub(crate) fn of_file(&self, pool: &PoolId) -> FileHealth {
        let label = PoolLabel { pool: pool.to_string() };
        let health = FileHealth {
            valid: self.endpoints_file_valid.get_or_create(&label).clone(),
            errors: self.endpoints_file_errors.get_or_create(&label).clone(),
        };
        health.accepted();
        health
    }

    /// What is shown of one pool.
    pub(crate) fn of(&self, pool: &PoolId) -> Levels {
        let pool = pool.to_string();
        let label = PoolLabel { pool: pool.clone() };
        let level = |family: &PerPool<Level>| family.get_or_create(&label).clone();
        let counter = |family: &PerPool<Counter>| family.get_or_create(&label).clone();
        Levels {
            owner: level(&self.owner),
            epoch: level(&self.epoch),
            seq: level(&self.seq),
            blocks: level(&self.blocks),
            in_flight: level(&self.in_flight),
            takeovers: counter(&self.takeovers),
            snapshots: counter(&self.snapshots),
            gaps: counter(&self.gaps),
            origins_expired: counter(&self.origins_expired),
            chains_asked: counter(&self.chains_asked),
            chains_given_up: counter(&self.chains_given_up),
            reports_outdated: counter(&self.reports_outdated),
            collectors_dropped: counter(&self.collectors_dropped),
            dated_ahead: level(&self.dated_ahead),
            endpoints: self.endpoints.clone(),
            digest: self.digest.clone(),
            pool,
        }
    }
}
