//! What an aggregator exports.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_state::{Reach, Seat, Standing};
use signalbox_types::PoolId;

type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReachLabel {
    pool: String,
    reach: &'static str,
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
    endpoints: Family<ReachLabel, Level>,
    digest: Family<KindLabel, Level>,
    pub(crate) subscribers: Level,
    pub(crate) collectors: Level,
    pub(crate) refused_messages: Counter,
    pub(crate) ends_relayed: Counter,
    pub(crate) ends_lost: Counter,
    pub(crate) endpoints_file_valid: Level,
    pub(crate) endpoints_file_errors: Counter,
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
        ];
        for (name, help, family) in levels {
            registry.register(name, help, family.clone());
        }
        let counters = [
            ("takeovers", "Times that this aggregator began to own the pool", &metrics.takeovers),
            ("snapshots", "Snapshots given to followers", &metrics.snapshots),
            ("gaps", "Frames of the owner that a standby could not take", &metrics.gaps),
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
            "1 when the endpoints files were good when last read, else 0: the last good ones are in use",
            metrics.endpoints_file_valid.clone(),
        );
        registry.register(
            "endpoints_file_errors",
            "Times that a changed endpoints file was refused",
            metrics.endpoints_file_errors.clone(),
        );
        metrics
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
            endpoints: self.endpoints.clone(),
            digest: self.digest.clone(),
            pool,
        }
    }
}

/// What an aggregator exports of one pool.
#[derive(Debug)]
pub(crate) struct Levels {
    pool: String,
    owner: Level,
    epoch: Level,
    seq: Level,
    blocks: Level,
    in_flight: Level,
    pub(crate) takeovers: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) gaps: Counter,
    endpoints: Family<ReachLabel, Level>,
    digest: Family<KindLabel, Level>,
}

impl Levels {
    /// Shows `seat` as it is now.
    pub(crate) fn show(&self, seat: &Seat) {
        self.owner.set(u64::from(matches!(seat.standing(), Standing::Owner(_))));
        self.epoch.set(seat.epoch());
        self.seq.set(seat.version().map_or(0, |version| version.seq));
        self.blocks.set(seat.picture().residents().index().len() as u64);
        let mut counts = [("unknown", 0), ("fresh", 0), ("stale", 0), ("down", 0)];
        let mut in_flight = 0;
        for member in seat.picture().members() {
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
            self.endpoints.get_or_create(&ReachLabel { pool: self.pool.clone(), reach }).set(count);
        }
        for (kind, sum) in seat.picture().digest().shown() {
            self.digest.get_or_create(&KindLabel { pool: self.pool.clone(), kind }).set(sum);
        }
    }
}
