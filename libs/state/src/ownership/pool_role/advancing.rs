//! What follows from an input and from time: the next steps of the election, of a takeover, and of a late inheritance.

use super::{Phase, PoolRole, RoleEffect};
use crate::ownership::election::ElectionStep;
use crate::ownership::late_inheritance::LateInheritance;
use crate::ownership::takeover::TakeoverStep;
use crate::replication::FrameSource;

impl PoolRole {
    pub(super) fn advance_election(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let sees_owner = self.heard_owner(now_ms).is_some();
        let is_caught_up =
            self.election.preferred().is_some_and(|name| self.followers.is_caught_up(now_ms, name));
        self.election.set_preferred_caught_up(is_caught_up);
        self.election.record_lost_owner(now_ms, self.lost_owner(now_ms));
        self.election.record_outranked(now_ms, self.is_outranked());
        match self.election.next(now_ms, self.own_epoch(), sees_owner, self.needs_later_epoch()) {
            Some(ElectionStep::Claim { replacing }) => {
                effects.push(RoleEffect::Claim { above: self.epoch(), replacing });
            }
            Some(ElectionStep::StepDown) => self.step_down(now_ms, effects),
            Some(ElectionStep::FailBack) => self.release_pool(now_ms, effects),
            None => {}
        }
    }

    /// Returns whether this aggregator cannot own the pool under the epoch of its last claim: it is outranked, or another
    /// history is to be continued.
    fn needs_later_epoch(&self) -> bool {
        self.is_outranked() || self.late_inheritance.as_ref().is_some_and(LateInheritance::is_ready)
    }

    /// Returns the epoch of the owner that holds the pool's lease, if this aggregator followed it and neither
    /// it nor its followers hear it any more.
    fn lost_owner(&self, now_ms: u64) -> Option<u64> {
        let epoch = self.election.other_epoch().filter(|_| self.own_epoch().is_none())?;
        let followed_it = self.follower.replica().cursor().is_some_and(|version| version.epoch == epoch);
        let hears_it = self.heard_owner(now_ms).is_some_and(|(_, heard)| heard >= epoch);
        (followed_it && !hears_it && self.followers.confirm_loss(now_ms, epoch)).then_some(epoch)
    }

    pub(super) fn advance_takeover(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let known_epoch = self.follower.epoch();
        let owner = self.heard_owner(now_ms);
        let Phase::Takeover(takeover) = &mut self.phase else { return };
        // The fetched state may come from an owner elected since. No other process may write under that
        // owner's epoch.
        if owner.is_some_and(|(_, epoch)| epoch > takeover.epoch) {
            return self.step_down(now_ms, effects);
        }
        // The election claims a later epoch.
        if known_epoch > takeover.epoch || self.foreign_epoch >= takeover.epoch {
            return;
        }
        loop {
            match takeover.next(now_ms, self.follower.replica().offer()) {
                TakeoverStep::Wait => return,
                TakeoverStep::Fetch(_) => return effects.push(RoleEffect::WakeFollowers),
                TakeoverStep::Abandon(follower) => {
                    self.follower.cancel_fetch(FrameSource::Follower(follower));
                }
                TakeoverStep::Complete => {
                    let epoch = takeover.epoch;
                    return self.take_over(now_ms, epoch, effects);
                }
            }
        }
    }

    pub(super) fn advance_late_inheritance(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let is_over = self.late_inheritance.take_if(|late| late.is_over(now_ms)).is_some();
        if is_over {
            self.set_provisional_since(now_ms, 0);
        }
        let is_fetching = self.late_inheritance.as_mut().is_some_and(|late| late.advance(now_ms));
        if is_over || is_fetching {
            effects.push(RoleEffect::WakeFollowers);
        }
    }
}
