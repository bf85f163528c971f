//! Answers polls of followers: with frames if this aggregator owns the pool, otherwise with the message that
//! it does not.

use std::sync::Arc;

use signalbox_types::Version;

use super::{Phase, PoolRole};
use crate::ownership::takeover::TakeoverMessage;
use crate::pool::Pool;
use crate::replication::{CatchUp, Frame, FromAggregator, Snapshot};

/// The maximum number of snapshots being sent at once.
const MAX_SNAPSHOTS_IN_FLIGHT: usize = 4;

/// What a follower's poll asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollWant {
    /// Changes only.
    Changes,
    /// Changes, and a heartbeat if there are none.
    ChangesAndHeartbeat,
    /// A heartbeat only, for a follower that has to wait for its changes: it says who owns the pool.
    Heartbeat,
}

/// A poll of a follower for what comes after its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPoll {
    /// The follower.
    pub follower: u64,
    /// The version that the follower holds; [`Version::default`] if it holds nothing.
    pub cursor: Version,
    /// What the poll asks for.
    pub want: PollWant,
}

/// The answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollReply {
    /// The follower is up to date. Send it this message, if there is one.
    Current(Option<FromAggregator>),
    /// Send the follower this frame, then poll again.
    Frame(Frame),
    /// Send the follower this snapshot, then poll again.
    Snapshot(Arc<Snapshot>),
    /// Nothing now: poll again a little later.
    Later,
}

impl PoolRole {
    /// Answers a follower's poll at `now_ms` of this process's clock.
    pub fn poll(&mut self, now_ms: u64, poll: FollowerPoll) -> PollReply {
        let FollowerPoll { follower, cursor, want } = poll;
        let (epoch, after) = (self.epoch(), self.version());
        let pool_now_ms = self.pool_now_ms(now_ms);
        let not_owner = FromAggregator::NotOwner { epoch };
        let wants_heartbeat = want != PollWant::Changes;
        let pool = match &mut self.phase {
            Phase::Standby => {
                return PollReply::Current(wants_heartbeat.then_some(not_owner));
            }
            Phase::Takeover(takeover) => {
                return PollReply::Current(match takeover.take_message(follower) {
                    Some(TakeoverMessage::NotOwner) => Some(not_owner),
                    Some(TakeoverMessage::FetchRequest) => Some(FromAggregator::FetchRequest { after }),
                    None => wants_heartbeat.then_some(not_owner),
                });
            }
            Phase::Owner(pool) => pool,
        };
        if let Some(late) = self.late_inheritance.as_mut().filter(|late| late.holds_back(follower)) {
            let sign_of_life = wants_heartbeat.then_some(not_owner);
            return PollReply::Current(late.take_request(follower).or(sign_of_life));
        }
        if want == PollWant::Heartbeat {
            pool.journal_mut().unpin(follower);
            return PollReply::Current(Some(FromAggregator::Frame(heartbeat(pool, pool_now_ms))));
        }
        let reply = match pool.journal().since(cursor) {
            CatchUp::Current => {
                self.followers.record_caught_up(now_ms, follower);
                let heartbeat = || FromAggregator::Frame(heartbeat(pool, pool_now_ms));
                PollReply::Current(wants_heartbeat.then(heartbeat))
            }
            CatchUp::Frame(frame) => PollReply::Frame(frame),
            CatchUp::Snapshot => return reply_with_snapshot(pool, &mut self.latest_snapshot, follower),
            CatchUp::Deposed(epoch) if self.follower.hear_epoch(epoch) => PollReply::Later,
            // The cursor cannot be genuine. The heartbeat makes the follower send another one.
            CatchUp::Deposed(_) => {
                let heartbeat = || FromAggregator::Frame(heartbeat(pool, pool_now_ms));
                PollReply::Current(wants_heartbeat.then(heartbeat))
            }
        };
        pool.journal_mut().unpin(follower);
        reply
    }
}

fn reply_with_snapshot(pool: &mut Pool, latest: &mut Option<Arc<Snapshot>>, follower: u64) -> PollReply {
    pool.journal_mut().unpin(follower);
    if pool.journal().pinned() >= MAX_SNAPSHOTS_IN_FLIGHT {
        return PollReply::Later;
    }
    let head = pool.journal().head();
    let is_usable = |snapshot: &&Arc<Snapshot>| {
        snapshot.version.epoch == head.epoch && pool.journal().covers(snapshot.version)
    };
    let snapshot = match latest.as_ref().filter(is_usable) {
        Some(snapshot) => Arc::clone(snapshot),
        None => Arc::new(pool.snapshot()),
    };
    pool.journal_mut().pin(follower, snapshot.version.seq);
    *latest = Some(Arc::clone(&snapshot));
    PollReply::Snapshot(snapshot)
}

fn heartbeat(pool: &Pool, now_ms: u64) -> Frame {
    let Version { epoch, seq } = pool.journal().head();
    Frame::Heartbeat { epoch, seq, now_ms, digest: pool.pool_state().digest() }
}
