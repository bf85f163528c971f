//! What an aggregator exports of one pool.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use signalbox_state::{CountedEvent, PoolRole, RoleStatus, ScrapeStatus};

use super::{KindLabel, Level, ReachLabel};

/// What an aggregator exports of a pool's endpoints file.
#[derive(Debug)]
pub(crate) struct FileHealth {
    pub(super) valid: Level,
    pub(super) errors: Counter,
}

impl FileHealth {
    pub(crate) fn accepted(&self) {
        self.valid.set(1);
    }

    pub(crate) fn refused(&self) {
        self.valid.set(0);
        self.errors.inc();
    }
}

/// What an aggregator exports of one pool.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(super) pool: String,
    pub(super) owner: Level,
    pub(super) epoch: Level,
    pub(super) seq: Level,
    pub(super) blocks: Level,
    pub(super) in_flight: Level,
    pub(crate) takeovers: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) gaps: Counter,
    pub(super) origins_expired: Counter,
    pub(crate) chains_asked: Counter,
    pub(super) chains_given_up: Counter,
    pub(super) reports_outdated: Counter,
    pub(crate) collectors_dropped: Counter,
    pub(super) dated_ahead: Level,
    pub(super) endpoints: Family<ReachLabel, Level>,
    pub(super) digest: Family<KindLabel, Level>,
}

impl Levels {
    /// Counts it.
    pub(crate) fn note(&self, noted: CountedEvent) {
        match noted {
            CountedEvent::OriginExpired(origin) => {
                tracing::warn!(pool = self.pool, %origin, "a replica is silent, and its bookings are gone");
                self.origins_expired.inc();
            }
            CountedEvent::ChainsGivenUp(count) => drop(self.chains_given_up.inc_by(count as u64)),
            CountedEvent::ReportOutdated(_) => drop(self.reports_outdated.inc()),
        }
    }

    /// Shows `seat` as it is at `now_ms` of this process's clock.
    pub(crate) fn show(&self, role: &PoolRole, now_ms: u64) {
        let is_owner = matches!(role.standing(), RoleStatus::Owner(_));
        self.owner.set(u64::from(is_owner));
        self.epoch.set(role.epoch());
        self.seq.set(role.version().map_or(0, |version| version.seq));
        self.blocks.set(role.pool_state().residents().index().len() as u64);
        let mut counts = [("unknown", 0), ("fresh", 0), ("stale", 0), ("down", 0)];
        let (mut in_flight, mut dated_ahead) = (0, 0);
        for member in role.pool_state().endpoints() {
            let at = match member.observed.scrape_status {
                ScrapeStatus::Unknown => 0,
                ScrapeStatus::Fresh => 1,
                ScrapeStatus::Stale => 2,
                ScrapeStatus::Down => 3,
            };
            counts[at].1 += 1;
            in_flight += u64::from(member.load().requests);
            // The clock is the owner's.
            dated_ahead +=
                u64::from(is_owner && member.observed.scrape_status_since_ms > role.pool_now_ms(now_ms));
        }
        self.dated_ahead.set(dated_ahead);
        self.in_flight.set(in_flight);
        for (scrape_status, count) in counts {
            self.endpoints.get_or_create(&ReachLabel { pool: self.pool.clone(), scrape_status }).set(count);
        }
        for (kind, sum) in role.pool_state().digest().shown() {
            self.digest.get_or_create(&KindLabel { pool: self.pool.clone(), kind }).set(sum);
        }
    }
}
