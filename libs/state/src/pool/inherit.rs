//! A change of owner: how one goes on from what another has left, and leaves its own to the next.

use std::collections::BTreeSet;

use signalbox_types::{Origin, Version};

use super::{Pool, PoolConfig};
use crate::assign::Assignments;
use crate::follower::Follower;
use crate::journal::Journal;
use crate::origins::Origins;
use crate::picture::Picture;
use crate::record::Record;

impl Pool {
    /// An owner under `epoch` that goes on from what `follower` holds; from nothing when that is unsound, or made for blocks of another
    /// size or hash. `now_ms` must not be less than the last owner's clock: what is held is dated by it.
    pub fn inherit(epoch: u64, config: PoolConfig, follower: Follower, now_ms: u64) -> Self {
        let is_readable = follower.replica().format().hashes_as(config.format);
        let Some((picture, mut journal)) = follower.into_parts().filter(|_| is_readable) else {
            return Self::new(epoch, config);
        };
        journal.turn(epoch);
        let records =
            picture.members().map(|member| (member.key, Record::inherited(member, now_ms))).collect();
        let adapters = picture.members().filter_map(|member| member.adapters.as_deref());
        Self {
            assignments: Assignments::inherited(epoch, now_ms),
            origins: Origins::inherited(now_ms, origins_of(&picture)),
            records,
            adapters: adapters.flat_map(|shelf| shelf.names().cloned()).collect(),
            config,
            picture,
            journal,
        }
    }

    /// Leaves the state to the next owner, and follows it from here.
    pub fn depose(self) -> Follower {
        let Self { config, picture, journal, .. } = self;
        Follower::deposed(picture, journal.unpinned(), config.format, config.journal)
    }

    /// An empty history under `epoch`.
    pub(super) fn fresh_journal(epoch: u64, config: &PoolConfig) -> Journal {
        Journal::new(Version { epoch, seq: 0 }, config.journal)
    }
}

/// All replicas that the state speaks of, and up to which number each one's placements are in it.
fn origins_of(picture: &Picture) -> impl Iterator<Item = (Origin, u64)> {
    let loads = picture.members().flat_map(|member| member.loads.iter().map(|(origin, _)| *origin));
    let acknowledged = picture.acknowledgements().map(|(origin, _)| origin);
    let all: BTreeSet<_> = loads.chain(acknowledged).collect();
    all.into_iter().map(|origin| (origin, picture.acknowledged(origin)))
}
