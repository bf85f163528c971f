//! What a follower gets that asks: frames from the owner, and from one that is none, that it is none.

use std::sync::Arc;

use signalbox_types::Version;

use super::{Phase, PoolRole};
use crate::follower::FromAggregator;
use crate::frame::{Frame, Snapshot};
use crate::journal::CatchUp;
use crate::pool::Pool;
use crate::takeover::TakeoverMessage;

/// Snapshots that may be on their way at once.
const SNAPSHOTS_AT_ONCE: usize = 4;

/// Whether a follower's stream is due for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollWant {
    /// Only what is new.
    Changes,
    /// And a sign of life.
    ChangesAndBeat,
}

/// A follower asks what comes after its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPoll {
    /// Which follower.
    pub follower: u64,
    /// What it holds; [`Version::default`] for nothing.
    pub cursor: Version,
    /// What it is to be told.
    pub want: PollWant,
}

/// What a follower gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollReply {
    /// It has all there is; this beside, if anything.
    Current(Option<FromAggregator>),
    /// This, and then it shall ask again.
    Frame(Frame),
    /// This snapshot, and then it shall ask again.
    Snapshot(Arc<Snapshot>),
    /// Nothing yet: it shall ask again a little later.
    Later,
}

impl PoolRole {
    /// What the follower that asks at `now_ms` of this process's clock gets.
    pub fn answer(&mut self, now_ms: u64, ask: FollowerPoll) -> PollReply {
        let FollowerPoll { follower, cursor, want } = ask;
        let (epoch, after) = (self.epoch(), self.version());
        let pool_now_ms = self.pool_now_ms(now_ms);
        let standing = FromAggregator::NotOwner { epoch };
        let pool = match &mut self.phase {
            Phase::Standby => {
                return PollReply::Current((want == PollWant::ChangesAndBeat).then_some(standing));
            }
            Phase::Takeover(takeover) => {
                return PollReply::Current(match takeover.say(follower) {
                    Some(TakeoverMessage::RoleStatus) => Some(standing),
                    Some(TakeoverMessage::Asked) => Some(FromAggregator::FetchRequest { after }),
                    None => (want == PollWant::ChangesAndBeat).then_some(standing),
                });
            }
            Phase::Owner(pool) => pool,
        };
        let answer = match pool.journal().since(cursor) {
            CatchUp::Current => {
                if let Some(listener) = self.followers.get_mut(&follower) {
                    listener.current_at_ms = Some(now_ms);
                }
                let beat = || FromAggregator::Frame(beat(pool, pool_now_ms));
                PollReply::Current((want == PollWant::ChangesAndBeat).then(beat))
            }
            CatchUp::Frame(frame) => PollReply::Frame(frame),
            CatchUp::Snapshot => return answer_by_snapshot(pool, &mut self.latest_snapshot, follower),
            CatchUp::Deposed(epoch) => {
                self.election.outranked(epoch);
                PollReply::Later
            }
        };
        pool.journal_mut().unpin(follower);
        answer
    }
}

fn answer_by_snapshot(pool: &mut Pool, latest: &mut Option<Arc<Snapshot>>, follower: u64) -> PollReply {
    pool.journal_mut().unpin(follower);
    if pool.journal().pinned() >= SNAPSHOTS_AT_ONCE {
        return PollReply::Later;
    }
    let head = pool.journal().head();
    let usable = |snapshot: &&Arc<Snapshot>| {
        snapshot.version.epoch == head.epoch && pool.journal().reaches(snapshot.version)
    };
    let snapshot = match latest.as_ref().filter(usable) {
        Some(snapshot) => Arc::clone(snapshot),
        None => Arc::new(pool.snapshot()),
    };
    pool.journal_mut().pin(follower, snapshot.version.seq);
    *latest = Some(Arc::clone(&snapshot));
    PollReply::Snapshot(snapshot)
}

fn beat(pool: &Pool, now_ms: u64) -> Frame {
    let Version { epoch, seq } = pool.journal().head();
    Frame::Heartbeat { epoch, seq, now_ms, digest: pool.pool_state().digest() }
}
