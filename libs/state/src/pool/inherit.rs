//! A change of owner: how one goes on from what another has left, and leaves its own to the next.

use std::collections::BTreeSet;

use signalbox_types::{Origin, Version};

use super::{Pool, PoolConfig};
use crate::assignments::Assignments;
use crate::endpoint_assessor::EndpointAssessor;
use crate::journal::Journal;
use crate::journaled_replica::JournaledReplica;
use crate::origins::Origins;
use crate::pool_state::PoolState;

impl Pool {
    /// An owner under `epoch` that goes on from what `follower` holds; from nothing when that is unsound, or made for blocks of another
    /// size or hash. `now_ms` must not be less than the last owner's clock: what is held is dated by it.
    pub fn inherit(epoch: u64, config: PoolConfig, follower: JournaledReplica, now_ms: u64) -> Self {
        let is_readable = follower.replica().format().hashes_as(config.format);
        let Some((pool_state, mut journal)) = follower.into_parts().filter(|_| is_readable) else {
            return Self::new(epoch, config);
        };
        journal.turn(epoch);
        let records = pool_state
            .endpoints()
            .map(|member| (member.key, EndpointAssessor::inherited(member, now_ms)))
            .collect();
        let adapters = pool_state.endpoints().filter_map(|member| member.adapters.as_deref());
        Self {
            assignments: Assignments::inherited(epoch, now_ms),
            origins: Origins::inherited(now_ms, origins_of(&pool_state)),
            records,
            adapters: adapters.flat_map(|residency| residency.names().cloned()).collect(),
            config,
            pool_state,
            journal,
        }
    }

    /// Leaves the state to the next owner, and follows it from here.
    pub fn depose(self) -> JournaledReplica {
        let Self { config, pool_state, journal, .. } = self;
        JournaledReplica::deposed(pool_state, journal.unpinned(), config.format, config.journal)
    }

    /// An empty history under `epoch`.
    pub(super) fn fresh_journal(epoch: u64, config: &PoolConfig) -> Journal {
        Journal::new(Version { epoch, seq: 0 }, config.journal)
    }
}

/// All replicas that the state speaks of, and up to which number each one's placements are in it.
fn origins_of(pool_state: &PoolState) -> impl Iterator<Item = (Origin, u64)> {
    let loads = pool_state.endpoints().flat_map(|member| member.loads.iter().map(|(origin, _)| *origin));
    let acknowledged = pool_state.acknowledgements().map(|(origin, _)| origin);
    let all: BTreeSet<_> = loads.chain(acknowledged).collect();
    all.into_iter().map(|origin| (origin, pool_state.acknowledged(origin)))
}
