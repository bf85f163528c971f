//! Handles messages of other aggregators and of followers.

use signalbox_types::Version;

use super::{Phase, PoolRole, RoleEffect};
use crate::replication::{
    Cursor, FetchProgress, FollowerEffect, FollowerEvent, Frame, FrameSource, FromFollower, HeardOwner,
};

impl PoolRole {
    pub(super) fn handle_peer_event(
        &mut self,
        now_ms: u64,
        aggregator: u64,
        event: FollowerEvent,
        effects: &mut Vec<RoleEffect>,
    ) {
        let source = FrameSource::Aggregator(aggregator);
        if let Phase::Owner(pool) = &self.phase {
            let (version, since) = (pool.journal().head(), pool.pool_state().provisional_since());
            let effect = self.follower.observe_as_owner(now_ms, source, &event, version, since);
            effects.extend(effect.and_then(role_effect));
            if self.follower.owner_epoch(source).is_none_or(|epoch| epoch <= version.epoch) {
                return self.record_twin(source);
            }
            self.step_down(now_ms, effects);
        }
        effects.extend(self.follower.handle(now_ms, source, event).into_iter().filter_map(role_effect));
        self.record_twin(source);
    }

    /// Records whether another aggregator owns the pool under the epoch of this one's claim.
    fn record_twin(&mut self, source: FrameSource) {
        let heard = self.follower.owner_epoch(source);
        if let Some(epoch) = heard.filter(|_| heard == self.own_epoch()) {
            self.foreign_epoch = self.foreign_epoch.max(epoch);
        }
    }

    /// Records a version that another process holds, and that this aggregator has not made.
    pub(super) fn record_foreign(&mut self, version: Option<Version>) {
        let is_foreign = |version: &Version| self.pool().is_none_or(|pool| *version > pool.journal().head());
        if let Some(version) = version.filter(is_foreign) {
            self.foreign_epoch = self.foreign_epoch.max(version.epoch);
        }
    }

    pub(super) fn handle_follower_message(&mut self, now_ms: u64, follower: u64, message: FromFollower) {
        match message {
            FromFollower::Cursor(cursor) => {
                // One with an epoch that cannot be genuine says nothing.
                let cursor = Some(cursor).filter(|cursor| self.follower.hear_epoch(cursor.highest_epoch()));
                let cursor = cursor.unwrap_or(Cursor { heard: HeardOwner::Nobody, ..Cursor::default() });
                self.followers.record_cursor(now_ms, follower, &cursor);
                self.record_foreign(cursor.version.max(cursor.diverged_at));
                match (&mut self.phase, &mut self.late_inheritance) {
                    (Phase::Takeover(takeover), _) => {
                        takeover.record_cursor(follower, cursor.epoch, cursor.offer());
                    }
                    (Phase::Owner(_), Some(late)) => late.record_cursor(follower, cursor.offer()),
                    (Phase::Standby | Phase::Owner(_), _) => {}
                }
            }
            FromFollower::Installed(_) => self.unpin(now_ms, follower),
            FromFollower::FetchReply(frame) => self.handle_fetch_reply(now_ms, follower, frame),
        }
    }

    fn handle_fetch_reply(&mut self, now_ms: u64, follower: u64, frame: Frame) {
        if frame.highest_epoch().is_some_and(|epoch| !self.follower.hear_epoch(epoch)) {
            return;
        }
        match (&mut self.phase, &mut self.late_inheritance) {
            (Phase::Takeover(takeover), _) => {
                if takeover.record_frame(now_ms, follower)
                    && self.follower.apply_fetched(now_ms, FrameSource::Follower(follower), frame)
                        == FetchProgress::Complete
                {
                    takeover.finish_fetch(self.follower.replica().offer());
                }
            }
            (Phase::Owner(_), Some(late)) => late.apply(now_ms, follower, frame),
            (Phase::Standby | Phase::Owner(_), _) => {}
        }
    }

    pub(super) fn remove_follower(&mut self, now_ms: u64, follower: u64) {
        self.followers.remove(follower);
        self.follower.cancel_fetch(FrameSource::Follower(follower));
        self.unpin(now_ms, follower);
        if let Phase::Takeover(takeover) = &mut self.phase {
            takeover.remove_follower(follower);
        }
        if let Some(late) = &mut self.late_inheritance {
            late.remove_follower(follower);
        }
    }
}

fn role_effect(effect: FollowerEffect) -> Option<RoleEffect> {
    match effect {
        FollowerEffect::Send(FrameSource::Aggregator(aggregator), message) => {
            Some(RoleEffect::Send(aggregator, message))
        }
        FollowerEffect::Gap(gap) => Some(RoleEffect::Gap(gap)),
        FollowerEffect::SnapshotInstalled => Some(RoleEffect::SnapshotInstalled),
        FollowerEffect::Send(FrameSource::Follower(_), _)
        | FollowerEffect::Advanced
        | FollowerEffect::EpochRefused(_) => None,
    }
}
