//! What a follower's stream sends next. The owner's history answers most polls, without the owner.

use std::sync::Arc;

use signalbox_types::Version;

use super::{Phase, PoolRole};
use crate::ownership::takeover::TakeoverMessage;
use crate::pool::Pool;
use crate::replication::{CatchUp, Frame, FromAggregator, SharedHistory, Snapshot};

/// The maximum number of snapshots that were sent and are not installed yet.
const MAX_SNAPSHOTS_IN_FLIGHT: usize = 4;

/// What a follower's poll asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollWant {
    /// Changes only.
    Changes,
    /// A heartbeat, or changes if the follower does not follow the owner's epoch yet.
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
    /// Send the follower this frame, then poll again for changes.
    Frame(Frame),
    /// Send the follower this snapshot, then poll again for changes.
    Snapshot(Arc<Snapshot>),
    /// Nothing now: poll again a little later. If a snapshot is being captured, the owner needs [`crate::PoolInput::Continue`].
    Later,
}

/// Why a poll cannot be answered from the history alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeyondHistory {
    /// The follower needs a snapshot.
    Snapshot,
    /// The follower knows this higher epoch.
    Deposed(u64),
    /// The follower might hold the history of an earlier owner, which this owner might still continue.
    MightInherit,
    /// The owner has stepped down.
    Ended,
}

/// The history that an owner writes, and the owner's clock.
#[derive(Clone, Debug)]
pub struct OwnedHistory {
    history: SharedHistory,
    /// A reading of the pool's clock, and of this process's clock at the same moment, in milliseconds.
    clock_ms: (u64, u64),
    /// Whether the owner might still continue another history, that of a follower which needs a snapshot of this one.
    might_inherit: bool,
}

impl OwnedHistory {
    /// Answers a follower's poll at `now_ms` of this process's clock.
    ///
    /// # Errors
    /// [`BeyondHistory`] if the owner must answer it.
    pub fn poll(&self, now_ms: u64, poll: FollowerPoll) -> Result<PollReply, BeyondHistory> {
        let FollowerPoll { cursor, want, .. } = poll;
        let next = self.history.since(cursor).ok_or(BeyondHistory::Ended)?;
        let pool_now_ms = pool_now_ms(self.clock_ms, now_ms);
        let heartbeat = || self.history.heartbeat(cursor, pool_now_ms).filter(|_| want != PollWant::Changes);
        if want == PollWant::Heartbeat {
            // Not a sign of life for a follower whose history is to be continued: it must go on with that.
            if self.might_inherit {
                return Err(BeyondHistory::MightInherit);
            }
            let heartbeat = self.history.heartbeat_at_head(pool_now_ms);
            return Ok(PollReply::Current(heartbeat.map(FromAggregator::Frame)));
        }
        match next {
            CatchUp::Current => Ok(PollReply::Current(heartbeat().map(FromAggregator::Frame))),
            // Signs of life do not wait until the follower is up to date.
            CatchUp::Frame(frame) => Ok(PollReply::Frame(heartbeat().unwrap_or(frame))),
            CatchUp::Snapshot => Err(BeyondHistory::Snapshot),
            CatchUp::Deposed(epoch) => Err(BeyondHistory::Deposed(epoch)),
        }
    }
}

/// Returns the pool's clock at `now_ms` of this process's clock.
pub(super) fn pool_now_ms((pool_ms, at_ms): (u64, u64), now_ms: u64) -> u64 {
    pool_ms + now_ms.saturating_sub(at_ms)
}

impl PoolRole {
    /// Returns the history from which the streams of followers answer polls by themselves; `None` if this aggregator
    /// does not own the pool, so that it must answer each poll.
    pub fn history(&self) -> Option<OwnedHistory> {
        let Phase::Owner(pool) = &self.phase else { return None };
        Some(self.owned_history(pool))
    }

    /// Returns whether there is a history from which streams answer polls by themselves, and whether it might be
    /// replaced by another.
    pub(super) fn history_status(&self) -> (bool, bool) {
        (matches!(self.phase, Phase::Owner(_)), self.late_inheritance.is_some())
    }

    fn owned_history(&self, pool: &Pool) -> OwnedHistory {
        OwnedHistory {
            history: pool.journal().history().clone(),
            clock_ms: self.clock_ms,
            might_inherit: self.late_inheritance.is_some(),
        }
    }

    /// Answers a follower's poll at `now_ms` of this process's clock.
    pub fn poll(&mut self, now_ms: u64, poll: FollowerPoll) -> PollReply {
        let FollowerPoll { follower, want, .. } = poll;
        let not_owner = FromAggregator::NotOwner { epoch: self.epoch() };
        let sign_of_life = (want != PollWant::Changes).then_some(not_owner.clone());
        if let Phase::Takeover(takeover) = &mut self.phase {
            let message = takeover.take_message(follower);
            let after = self.version();
            return PollReply::Current(match message {
                Some(TakeoverMessage::NotOwner) => Some(not_owner),
                Some(TakeoverMessage::FetchRequest) => Some(FromAggregator::FetchRequest { after }),
                None => sign_of_life,
            });
        }
        let Phase::Owner(pool) = &self.phase else { return PollReply::Current(sign_of_life) };
        if let Some(late) = self.late_inheritance.as_mut().filter(|late| late.holds_back(follower)) {
            return PollReply::Current(late.take_request(follower).or(sign_of_life));
        }
        match self.owned_history(pool).poll(now_ms, poll) {
            Ok(reply) => {
                if let PollReply::Current(Some(_)) = reply
                    && want != PollWant::Heartbeat
                {
                    self.record_caught_up(now_ms, follower);
                }
                reply
            }
            Err(BeyondHistory::MightInherit) => self.reply_with_heartbeat(now_ms),
            Err(BeyondHistory::Snapshot) => self.reply_with_snapshot(now_ms, follower),
            Err(BeyondHistory::Deposed(epoch)) => self.reply_to_later_epoch(now_ms, poll, epoch),
            Err(BeyondHistory::Ended) => PollReply::Later,
        }
    }

    /// Records that a follower was up to date when it was sent a heartbeat.
    pub(super) fn record_caught_up(&mut self, now_ms: u64, follower: u64) {
        self.followers.record_caught_up(now_ms, follower);
    }

    fn reply_to_later_epoch(&mut self, now_ms: u64, poll: FollowerPoll, epoch: u64) -> PollReply {
        if self.follower.hear_epoch(epoch) {
            return PollReply::Later;
        }
        // The cursor cannot be genuine. A heartbeat makes the follower send another one.
        match poll.want {
            PollWant::Changes => PollReply::Current(None),
            PollWant::ChangesAndHeartbeat | PollWant::Heartbeat => self.reply_with_heartbeat(now_ms),
        }
    }

    fn reply_with_heartbeat(&self, now_ms: u64) -> PollReply {
        let Phase::Owner(pool) = &self.phase else { return PollReply::Later };
        let heartbeat = pool.journal().history().heartbeat_at_head(self.pool_now_ms(now_ms));
        PollReply::Current(heartbeat.map(FromAggregator::Frame))
    }

    fn reply_with_snapshot(&mut self, now_ms: u64, follower: u64) -> PollReply {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return PollReply::Later };
        pool.journal_mut().unpin(pool_now_ms, follower);
        if pool.journal().pinned() >= MAX_SNAPSHOTS_IN_FLIGHT {
            return PollReply::Later;
        }
        let diverged_at = self.followers.diverged_at(follower);
        let Some(snapshot) = pool.request_snapshot(pool_now_ms, diverged_at) else { return PollReply::Later };
        pool.mark_sent(pool_now_ms, follower, snapshot.version.seq);
        PollReply::Snapshot(snapshot)
    }

    /// Releases the history after the snapshot that a follower was sent: it has installed the snapshot, or is gone.
    pub(super) fn unpin(&mut self, now_ms: u64, follower: u64) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        pool.journal_mut().unpin(pool_now_ms, follower);
        pool.drop_unused_snapshot();
    }

    /// Releases the history after snapshots that should have been installed long ago.
    pub(super) fn expire_pins(&mut self, now_ms: u64) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        pool.expire_snapshots(pool_now_ms);
    }
}
