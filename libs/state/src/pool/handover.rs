//! Hands the state from one owner to the next.

use std::collections::BTreeSet;

use signalbox_types::Version;

use super::assignments::Assignments;
use super::assumed_speed::Corrections;
use super::cache_beliefs::CacheBeliefs;
use super::endpoint_assessor::EndpointAssessor;
use super::eviction::RoomCheck;
use super::granting::Granting;
use super::origins::Origins;
use super::pool_rates::PoolRates;
use super::response_ages::ResponseAges;
use super::rounds::Rounds;
use super::signalling::Signalling;
use super::snapshots::LatestSnapshot;
use super::token_ratios::TokenRatios;
use super::{Pool, PoolConfig, PoolEffect};
use crate::pool_state::{Change, PoolState};
use crate::replication::{Journal, JournaledReplica};

/// The highest number of changes that an owner continues from. The changes after it can be counted for ever; only an
/// invented number is higher.
const MAX_INHERITED_SEQ: u64 = 1 << 62;

impl Pool {
    /// Creates a pool under `epoch` that continues the state of `replica`. Starts empty if the replica is
    /// inconsistent, uses another block size or hash, or has an invented version. `now_ms` must not be less than the previous owner's
    /// clock, because the state contains its timestamps.
    pub fn inherit(epoch: u64, config: PoolConfig, replica: JournaledReplica, now_ms: u64) -> Self {
        let is_readable = replica.state_replica().format().hashes_like(config.format)
            && Self::invented_version(&replica).is_none();
        let Some((pool_state, mut journal)) = replica.into_parts().filter(|_| is_readable) else {
            return Self::new(epoch, config);
        };
        journal.begin_epoch(epoch);
        let corrections = Corrections::inherited(pool_state.flows().measures());
        let assessors = pool_state
            .endpoints()
            .map(|endpoint_state| {
                let rates = corrections.uncorrected(endpoint_state.assessment.rates);
                (endpoint_state.key, EndpointAssessor::from_endpoint_state(endpoint_state, rates, now_ms))
            })
            .collect();
        let adapters = pool_state.endpoints().filter_map(|endpoint_state| endpoint_state.adapters.as_deref());
        let mut pool = Self {
            assignments: Assignments::inherited(epoch, now_ms),
            untold: BTreeSet::new(),
            origins: Origins::inherited(now_ms, &pool_state),
            assessors,
            rates: PoolRates::default(),
            adapters: adapters.flat_map(|residency| residency.names().cloned()).collect(),
            response_ages: ResponseAges::inherited(&pool_state, now_ms),
            token_ratios: TokenRatios::from_pool_state(&pool_state),
            cache_beliefs: CacheBeliefs::from_pool_state(&pool_state),
            rounds: Rounds::default(),
            room_check: RoomCheck::default(),
            granting: Granting::inherited(&pool_state),
            corrections,
            signalling: Signalling::inherited(&config, &pool_state),
            pending_spec: None,
            snapshot: LatestSnapshot::default(),
            discarded: Vec::new(),
            waiting_ms: 0,
            config,
            pool_state,
            journal,
        };
        pool.pool_state.loads_mut().restart_prefills(now_ms);
        pool.restore_rates();
        pool.touch_all();
        pool
    }

    /// Returns the version of `replica` if it cannot be genuine.
    pub(crate) fn invented_version(replica: &JournaledReplica) -> Option<Version> {
        replica.cursor().filter(|version| version.seq > MAX_INHERITED_SEQ)
    }

    /// Replaces `before`, a pool with another history, at the same owner. Its collectors must connect again, and its
    /// replicas must take new origins: what they have sent is not in this pool.
    pub(crate) fn replace(&mut self, now_ms: u64, before: &Self) -> Vec<PoolEffect> {
        for origin in before.origins.all() {
            self.origins.expire_at_once(origin);
            self.commit(Change::OriginExpired { origin });
        }
        self.journal.publish(now_ms, self.pool_state.digest());
        before.assignments.streams().map(PoolEffect::CloseCollector).collect()
    }

    /// Makes the state provisional since the epoch `since`, or final if that is 0, at `now_ms` of the owner's clock.
    pub(crate) fn set_provisional_since(&mut self, now_ms: u64, since: u64) {
        self.commit(Change::ProvisionalSet { since });
        self.journal.publish(now_ms, self.pool_state.digest());
    }

    /// Turns the pool into a replica that follows the next owner.
    pub fn into_replica(mut self) -> JournaledReplica {
        self.discard_snapshot();
        let Self { config, pool_state, journal, .. } = self;
        JournaledReplica::from_owner(pool_state, journal.without_readers(), config.format, config.journal)
    }

    /// Creates an empty journal under `epoch`.
    pub(super) fn fresh_journal(epoch: u64, config: &PoolConfig) -> Journal {
        Journal::new(Version { epoch, seq: 0 }, PoolState::default().digest(), config.journal)
    }
}
