//! Changes of status: becoming the owner and stepping down.

use std::sync::Arc;

use super::{Phase, PoolRole, RoleEffect, RoleStatus};
use crate::ownership::election::ClaimResult;
use crate::ownership::late_inheritance::LateInheritance;
use crate::ownership::takeover::Takeover;
use crate::pool::{Pool, PoolConfig, PoolInput};
use crate::replication::JournaledReplica;

/// The latest time at which a new owner's clock starts, whatever others claimed, in milliseconds. The clock can go on
/// from there for ever.
const MAX_POOL_TIME_MS: u64 = 1 << 62;

impl PoolRole {
    pub(super) fn apply_claim_result(
        &mut self,
        now_ms: u64,
        result: ClaimResult,
        effects: &mut Vec<RoleEffect>,
    ) {
        self.election.record_claim_result(now_ms, result);
        result.epoch().into_iter().for_each(|epoch| self.follower.confirm_epoch(epoch));
        let ClaimResult::Won { epoch, is_first } = result else { return };
        if self.pool().is_none() {
            self.record_foreign(self.version());
        }
        if self.election.is_draining() {
            effects.push(RoleEffect::Release);
            return;
        }
        match &mut self.phase {
            Phase::Owner(pool) => match self.late_inheritance.take_if(|late| late.is_ready()) {
                Some(late) => self.inherit_late(now_ms, epoch, late, effects),
                None => {
                    pool.begin_epoch(epoch);
                    self.late_inheritance.iter_mut().for_each(|late| late.begin_epoch(epoch));
                }
            },
            Phase::Takeover(takeover) => takeover.epoch = epoch,
            Phase::Standby => {
                let empty_wait_ms = if is_first { 0 } else { self.config.takeover_wait_ms };
                self.phase = Phase::Takeover(Takeover::new(
                    epoch,
                    now_ms,
                    empty_wait_ms,
                    self.followers.responsive(now_ms),
                ));
            }
        }
        effects.push(RoleEffect::StatusChanged(self.status()));
        effects.push(RoleEffect::WakeFollowers);
    }

    pub(super) fn take_over(&mut self, now_ms: u64, epoch: u64, effects: &mut Vec<RoleEffect>) {
        let replica = self.follower.replace_replica(JournaledReplica::new(self.config.pool.journal));
        // The owner's last heartbeat may be older than the state, or lost.
        let pool_now_ms =
            self.follower.owner_now_ms(now_ms).max(latest_time_ms(&replica)).min(MAX_POOL_TIME_MS);
        let begins_with_nothing = replica.cursor().is_none();
        self.clock_ms = (pool_now_ms, now_ms);
        effects.extend(Pool::invented_version(&replica).map(RoleEffect::HistoryRefused));
        self.phase = Phase::Owner(Box::new(Pool::inherit(epoch, self.config.pool, replica, pool_now_ms)));
        if begins_with_nothing {
            self.set_provisional_since(now_ms, epoch);
        }
        self.begin_late_inheritance(now_ms, epoch);
        self.handle_as_owner(now_ms, PoolInput::Spec(Arc::clone(&self.spec)), effects);
        effects.push(RoleEffect::StatusChanged(RoleStatus::Owner(epoch)));
        effects.push(RoleEffect::WakeFollowers);
    }

    /// Makes the state of the pool that this aggregator owns provisional since the epoch `since`, or final if that is 0.
    pub(super) fn set_provisional_since(&mut self, now_ms: u64, since: u64) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        pool.set_provisional_since(pool_now_ms, since);
    }

    /// Lets this owner under `epoch` inherit from followers, if its state is provisional.
    fn begin_late_inheritance(&mut self, now_ms: u64, epoch: u64) {
        let since = self.pool_state().provisional_since();
        if since == 0 {
            return;
        }
        let PoolConfig { format, journal, .. } = self.config.pool;
        let mut late = LateInheritance::new(now_ms, epoch, since, format, journal);
        self.followers.offers().for_each(|(follower, offer)| late.record_cursor(follower, Some(offer)));
        self.late_inheritance = Some(late);
    }

    /// Continues the state of an earlier owner under `epoch` instead of the own one, which began with nothing.
    fn inherit_late(
        &mut self,
        now_ms: u64,
        epoch: u64,
        late: LateInheritance,
        effects: &mut Vec<RoleEffect>,
    ) {
        let own_now_ms = self.pool_now_ms(now_ms);
        let (replica, owner_now_ms) = late.into_fetched(now_ms);
        let pool_now_ms = own_now_ms.max(owner_now_ms).max(latest_time_ms(&replica)).min(MAX_POOL_TIME_MS);
        let Phase::Owner(pool) = &mut self.phase else { return };
        effects.extend(Pool::invented_version(&replica).map(RoleEffect::HistoryRefused));
        let inherited = Pool::inherit(epoch, self.config.pool, replica, pool_now_ms);
        let before = std::mem::replace(pool.as_mut(), inherited);
        effects.extend(pool.replace(pool_now_ms, &before).into_iter().map(RoleEffect::Pool));
        // The share of the memory may have changed since this aggregator began to fetch.
        pool.set_history(pool_now_ms, self.config.pool.journal);
        self.clock_ms = (pool_now_ms, now_ms);
        self.begin_late_inheritance(now_ms, epoch);
        self.handle_as_owner(now_ms, PoolInput::Spec(Arc::clone(&self.spec)), effects);
    }

    /// Returns to following, unless this aggregator already does.
    pub(super) fn step_down(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        self.election.record_step_down(now_ms);
        self.late_inheritance = None;
        match std::mem::replace(&mut self.phase, Phase::Standby) {
            Phase::Standby => return,
            Phase::Takeover(_) => {}
            Phase::Owner(pool) => {
                let pool_now_ms = self.pool_now_ms(now_ms);
                self.follower.replace_replica(pool.into_replica());
                self.follower.set_owner_clock(pool_now_ms, now_ms);
            }
        }
        effects.push(RoleEffect::StatusChanged(RoleStatus::Standby));
        effects.push(RoleEffect::WakeFollowers);
    }

    /// Stops participating in the election and releases the pool.
    pub(super) fn drain(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        self.election.drain();
        self.release_pool(now_ms, effects);
    }

    /// Releases the pool to another aggregator, but keeps following, so that the next owner can fetch the
    /// history that it is missing.
    pub(super) fn release_pool(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        if !matches!(self.phase, Phase::Standby) {
            self.step_down(now_ms, effects);
            effects.push(RoleEffect::Release);
        }
    }
}

/// Returns the latest time in the state, in milliseconds of its owner's clock.
fn latest_time_ms(replica: &JournaledReplica) -> u64 {
    let endpoints = replica.state_replica().pool_state().endpoints();
    endpoints.map(|endpoint_state| endpoint_state.observed.scrape_status_since_ms).max().unwrap_or(0)
}
