//! How a seat becomes the owner's, and stops being it.

use super::{Phase, PoolRole, RoleEffect, RoleStatus};
use crate::election::ClaimResult;
use crate::journaled_replica::JournaledReplica;
use crate::pool::{Pool, PoolInput};
use crate::takeover::Takeover;

impl PoolRole {
    pub(super) fn claimed(&mut self, now_ms: u64, claimed: ClaimResult, effects: &mut Vec<RoleEffect>) {
        self.election.claimed(now_ms, claimed);
        let ClaimResult::Won { epoch, is_first } = claimed else { return };
        if self.election.is_draining() {
            effects.push(RoleEffect::Release);
            return;
        }
        self.following.heard_of(epoch);
        match &mut self.phase {
            Phase::Owner(pool) => pool.turn(epoch),
            Phase::Takeover(takeover) => takeover.epoch = epoch,
            Phase::Standby => {
                let patience_ms = if is_first { 0 } else { self.config.inherit_within_ms };
                self.phase =
                    Phase::Takeover(Takeover::new(epoch, now_ms, patience_ms, self.followers.keys()));
            }
        }
        effects.push(RoleEffect::Stands(self.standing()));
        effects.push(RoleEffect::Stirred);
    }

    pub(super) fn take_over(&mut self, now_ms: u64, epoch: u64, effects: &mut Vec<RoleEffect>) {
        let follower = self.following.replace(JournaledReplica::new(self.config.pool.journal));
        // Its last beat may be older than what is held, or lost.
        let dates =
            follower.replica().pool_state().endpoints().map(|member| member.observed.scrape_status_since_ms);
        let pool_now_ms = self.following.owners_now_ms(now_ms).max(dates.max().unwrap_or(0));
        self.clock_ms = (pool_now_ms, now_ms);
        self.latest_snapshot = None;
        self.phase = Phase::Owner(Box::new(Pool::inherit(epoch, self.config.pool, follower, pool_now_ms)));
        self.own(now_ms, PoolInput::Spec(self.spec.clone()), effects);
        effects.push(RoleEffect::Stands(RoleStatus::Owner(epoch)));
        effects.push(RoleEffect::Stirred);
    }

    /// Follows, if it did not.
    pub(super) fn step_down(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        self.election.stepped_down(now_ms);
        match std::mem::replace(&mut self.phase, Phase::Standby) {
            Phase::Standby => return,
            Phase::Takeover(_) => {}
            Phase::Owner(pool) => {
                let pool_now_ms = self.pool_now_ms(now_ms);
                self.following.replace(pool.depose());
                self.following.was_owner(pool_now_ms, now_ms);
            }
        }
        self.latest_snapshot = None;
        effects.push(RoleEffect::Stands(RoleStatus::Standby));
        effects.push(RoleEffect::Stirred);
    }

    /// Wants the pool no more.
    pub(super) fn drain(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        self.election.drain();
        self.leave(now_ms, effects);
    }

    /// Leaves the pool to another, and goes on following, so that the next owner can fetch what it has not heard of.
    pub(super) fn leave(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        if !matches!(self.phase, Phase::Standby) {
            self.step_down(now_ms, effects);
            effects.push(RoleEffect::Release);
        }
    }
}
