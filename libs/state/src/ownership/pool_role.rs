//! One aggregator's role in a pool: it owns the pool, or follows the owner and takes over when the owner is
//! gone.

mod config;
mod effect;
mod input;
mod poll;
mod transitions;

use std::sync::Arc;

use signalbox_types::{PoolSpec, Version};

pub use self::config::PoolRoleConfig;
pub use self::effect::{RoleEffect, RoleStatus};
pub use self::input::RoleInput;
pub use self::poll::{FollowerPoll, PollReply, PollWant};
use super::election::{Election, ElectionStep};
use super::followers::Followers;
use super::takeover::{Takeover, TakeoverStep};
use crate::pool::{Pool, PoolEffect, PoolInput};
use crate::pool_state::PoolState;
use crate::replication::{
    FetchProgress, Follower, FollowerEffect, FollowerEvent, FrameSource, FromFollower, JournaledReplica,
    Snapshot,
};

/// The current phase of the role, with the state that only this phase needs.
#[derive(Debug)]
enum Phase {
    Standby,
    Takeover(Takeover),
    Owner(Box<Pool>),
}

/// One aggregator's role in a pool.
#[derive(Debug)]
pub struct PoolRole {
    config: PoolRoleConfig,
    spec: PoolSpec,
    /// Holds the state unless this aggregator owns the pool, and always tracks what other aggregators report
    /// about themselves.
    follower: Follower,
    phase: Phase,
    election: Election,
    followers: Followers,
    /// A reading of the pool's clock, and of this process's clock at the same moment, in milliseconds.
    clock_ms: (u64, u64),
    latest_snapshot: Option<Arc<Snapshot>>,
}

impl PoolRole {
    /// Creates a role without state.
    pub fn new(config: PoolRoleConfig, spec: PoolSpec) -> Self {
        Self {
            follower: Follower::new(JournaledReplica::new(config.pool.journal)),
            election: Election::new(config.name.clone(), config.pool_hash, config.failback_after_ms),
            config,
            spec,
            phase: Phase::Standby,
            followers: Followers::default(),
            clock_ms: (0, 0),
            latest_snapshot: None,
        }
    }

    /// Returns the current status.
    pub fn status(&self) -> RoleStatus {
        match &self.phase {
            Phase::Standby => RoleStatus::Standby,
            Phase::Takeover(takeover) => RoleStatus::TakingOver(takeover.epoch),
            Phase::Owner(pool) => RoleStatus::Owner(pool.journal().head().epoch),
        }
    }

    /// Returns the pool, if this aggregator owns it.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.phase {
            Phase::Owner(pool) => Some(pool),
            Phase::Standby | Phase::Takeover(_) => None,
        }
    }

    /// Returns the pool state, as owner or as follower.
    pub fn pool_state(&self) -> &PoolState {
        self.pool().map_or_else(|| self.follower.replica().state_replica().pool_state(), Pool::pool_state)
    }

    /// Returns the version of the state; `None` if there is none, or none that can be continued.
    pub fn version(&self) -> Option<Version> {
        self.pool().map_or_else(|| self.follower.replica().cursor(), |pool| Some(pool.journal().head()))
    }

    /// Returns the highest known epoch.
    pub fn epoch(&self) -> u64 {
        self.follower.epoch().max(self.version().map_or(0, |version| version.epoch))
    }

    /// Returns whether another aggregator sends messages as the owner.
    pub fn sees_owner(&self, now_ms: u64) -> bool {
        self.follower.owner(now_ms).is_some()
    }

    /// Returns the pool's clock at `now_ms` of this process's clock.
    pub fn pool_now_ms(&self, now_ms: u64) -> u64 {
        let (pool_ms, at_ms) = self.clock_ms;
        pool_ms + now_ms.saturating_sub(at_ms)
    }

    /// Handles one input at `now_ms` of this process's clock and returns what must be done.
    pub fn handle(&mut self, now_ms: u64, input: RoleInput) -> Vec<RoleEffect> {
        let mut effects = Vec::new();
        match input {
            RoleInput::Spec(spec) => {
                self.spec = spec.clone();
                self.handle_as_owner(now_ms, PoolInput::Spec(spec), &mut effects);
            }
            // These inputs only advance the version, so the election and the takeover need no check.
            RoleInput::Pool(input) => {
                self.handle_as_owner(now_ms, input, &mut effects);
                return effects;
            }
            RoleInput::PeerEvent(aggregator, event) => {
                self.handle_peer_event(now_ms, aggregator, event, &mut effects)
            }
            RoleInput::FollowerJoined(follower, name) => {
                self.election.record_join(now_ms, &name);
                self.followers.add(follower, name);
            }
            RoleInput::FollowerMessage(follower, message) => {
                self.handle_follower_message(now_ms, follower, message)
            }
            RoleInput::FollowerLeft(follower) => self.remove_follower(follower),
            RoleInput::OwnerObserved(observed) => self.election.observe_owner(observed),
            RoleInput::ClaimAnswered(result) => self.apply_claim_result(now_ms, result, &mut effects),
            RoleInput::Candidates(names) => self.election.set_candidates(now_ms, names),
            RoleInput::Tick => self.handle_as_owner(now_ms, PoolInput::Tick, &mut effects),
            RoleInput::Drain => self.drain(now_ms, &mut effects),
        }
        self.advance_election(now_ms, &mut effects);
        self.advance_takeover(now_ms, &mut effects);
        effects
    }

    /// Lets the pool handle an input, if this aggregator owns it.
    fn handle_as_owner(&mut self, now_ms: u64, input: PoolInput, effects: &mut Vec<RoleEffect>) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        for effect in pool.handle(pool_now_ms, input) {
            match effect {
                PoolEffect::Outranked(epoch) => self.election.record_higher_epoch(epoch),
                effect => effects.push(RoleEffect::Pool(effect)),
            }
        }
    }

    fn handle_peer_event(
        &mut self,
        now_ms: u64,
        aggregator: u64,
        event: FollowerEvent,
        effects: &mut Vec<RoleEffect>,
    ) {
        let source = FrameSource::Aggregator(aggregator);
        if let Phase::Owner(pool) = &self.phase {
            let version = pool.journal().head();
            let effect = self.follower.observe_as_owner(now_ms, source, &event, version);
            effects.extend(effect.and_then(role_effect));
            if self.follower.owner_epoch(source).is_none_or(|epoch| epoch <= version.epoch) {
                return;
            }
            self.step_down(now_ms, effects);
        }
        effects.extend(self.follower.handle(now_ms, source, event).into_iter().filter_map(role_effect));
    }

    fn handle_follower_message(&mut self, now_ms: u64, follower: u64, message: FromFollower) {
        match message {
            FromFollower::Cursor(cursor) => {
                self.followers.record_cursor(now_ms, follower, &cursor);
                self.follower.observe_epoch(cursor.epoch);
                match &mut self.phase {
                    Phase::Standby => {}
                    Phase::Takeover(takeover) => takeover.record_cursor(follower, cursor.version),
                    Phase::Owner(pool) if cursor.epoch > pool.journal().head().epoch => {
                        self.election.record_higher_epoch(cursor.epoch);
                    }
                    Phase::Owner(_) => {}
                }
            }
            FromFollower::FetchReply(frame) => {
                let Phase::Takeover(takeover) = &mut self.phase else { return };
                if takeover.is_fetching_from(follower)
                    && self.follower.apply_fetched(now_ms, FrameSource::Follower(follower), frame)
                        == FetchProgress::Complete
                {
                    takeover.remove_follower(follower);
                }
            }
        }
    }

    fn remove_follower(&mut self, follower: u64) {
        self.followers.remove(follower);
        self.follower.cancel_fetch(FrameSource::Follower(follower));
        match &mut self.phase {
            Phase::Standby => {}
            Phase::Takeover(takeover) => takeover.remove_follower(follower),
            Phase::Owner(pool) => pool.journal_mut().unpin(follower),
        }
    }

    fn advance_election(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let sees_owner = self.follower.owner(now_ms).is_some();
        let is_caught_up =
            self.election.preferred().is_some_and(|name| self.followers.is_caught_up(now_ms, name));
        self.election.set_preferred_caught_up(is_caught_up);
        self.election.record_lost_owner(now_ms, self.lost_owner(now_ms));
        match self.election.next(now_ms, sees_owner) {
            Some(ElectionStep::Claim { replacing }) => {
                effects.push(RoleEffect::Claim { above: self.epoch(), replacing });
            }
            Some(ElectionStep::StepDown) => self.step_down(now_ms, effects),
            Some(ElectionStep::FailBack) => self.release_pool(now_ms, effects),
            None => {}
        }
    }

    /// Returns the epoch of the owner that holds the pool's lease, if this aggregator followed it and neither
    /// it nor its followers hear it any more.
    fn lost_owner(&self, now_ms: u64) -> Option<u64> {
        let epoch = self.election.other_epoch()?;
        let followed_it = self.follower.replica().cursor().is_some_and(|version| version.epoch == epoch);
        let hears_it = self.follower.owner(now_ms).is_some_and(|(_, heard)| heard >= epoch);
        (followed_it && !hears_it && self.followers.confirm_loss(now_ms, epoch)).then_some(epoch)
    }

    fn advance_takeover(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let (held, known_epoch) = (self.follower.replica().cursor(), self.follower.epoch());
        let owner = self.follower.owner(now_ms);
        let Phase::Takeover(takeover) = &mut self.phase else { return };
        // The fetched state may come from an owner elected since. No other process may write under that
        // owner's epoch.
        if owner.is_some_and(|(_, epoch)| epoch > takeover.epoch) {
            return self.step_down(now_ms, effects);
        }
        if known_epoch > takeover.epoch {
            return self.election.record_higher_epoch(known_epoch);
        }
        match takeover.next(now_ms, held) {
            TakeoverStep::Wait => {}
            TakeoverStep::Fetch(_) => effects.push(RoleEffect::WakeFollowers),
            TakeoverStep::Complete => {
                let epoch = takeover.epoch;
                self.take_over(now_ms, epoch, effects);
            }
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
        FollowerEffect::Send(FrameSource::Follower(_), _) | FollowerEffect::Advanced => None,
    }
}
