//! One aggregator's role in a pool: it owns the pool, or follows the owner and takes over when the owner is
//! gone.

mod advancing;
mod config;
mod effect;
mod input;
mod messages;
mod poll;
mod poll_wait;
mod transitions;

use std::sync::Arc;

use signalbox_types::{PoolSpec, Version};

pub use self::config::PoolRoleConfig;
pub use self::effect::{RoleEffect, RoleStatus};
pub use self::input::RoleInput;
pub use self::poll::{BeyondHistory, FollowerPoll, OwnedHistory, PollReply, PollWant};
pub use self::poll_wait::PollWait;
use super::election::Election;
use super::followers::Followers;
use super::late_inheritance::LateInheritance;
use super::takeover::Takeover;
use crate::pool::{Pool, PoolInput};
use crate::pool_state::PoolState;
use crate::replication::{Follower, FrameSource, JournalBounds, JournaledReplica, Lateness};

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
    spec: Arc<PoolSpec>,
    /// Holds the state unless this aggregator owns the pool, and always tracks what other aggregators report
    /// about themselves.
    follower: Follower,
    phase: Phase,
    election: Election,
    followers: Followers,
    lateness: Lateness,
    /// For how long the oldest message waits that is not handled yet, in milliseconds.
    waiting_ms: u64,
    /// A reading of the pool's clock, and of this process's clock at the same moment, in milliseconds.
    clock_ms: (u64, u64),
    /// What this owner may still inherit, if it has started with nothing.
    late_inheritance: Option<LateInheritance>,
    /// The highest epoch under which another process is known to have written. A coordinator with an older history than
    /// before grants it once more.
    foreign_epoch: u64,
}

impl PoolRole {
    /// Creates a role without state.
    pub fn new(config: PoolRoleConfig, spec: Arc<PoolSpec>) -> Self {
        Self {
            follower: Follower::new(JournaledReplica::new(config.pool.journal)),
            election: Election::new(
                config.name.clone(),
                config.pool_hash,
                config.failback_after_ms,
                config.lease_ttl_ms,
            ),
            config,
            spec,
            phase: Phase::Standby,
            followers: Followers::default(),
            lateness: Lateness::default(),
            waiting_ms: 0,
            clock_ms: (0, 0),
            late_inheritance: None,
            foreign_epoch: 0,
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
        self.heard_owner(now_ms).is_some()
    }

    /// Returns the streams of the followers.
    pub fn followers(&self) -> impl Iterator<Item = u64> {
        self.followers.streams()
    }

    /// Returns the pool's clock at `now_ms` of this process's clock.
    pub fn pool_now_ms(&self, now_ms: u64) -> u64 {
        poll::pool_now_ms(self.clock_ms, now_ms)
    }

    /// Returns the clock of the pool's owner at `now_ms` of this process's clock: the own one, or that of the owner that this
    /// aggregator follows, as of its last heartbeat.
    pub fn owner_now_ms(&self, now_ms: u64) -> u64 {
        match self.phase {
            Phase::Owner(_) => self.pool_now_ms(now_ms),
            Phase::Standby | Phase::Takeover(_) => self.follower.owner_now_ms(now_ms),
        }
    }

    /// Returns how much history is kept, as owner or as follower, in bytes.
    pub fn history_bytes(&self) -> usize {
        self.pool().map_or_else(|| self.follower.replica().journal(), Pool::journal).weight_bytes()
    }

    /// Changes how much history is kept, whatever the status is and will be.
    pub fn set_history(&mut self, now_ms: u64, bounds: JournalBounds) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        self.config.pool.journal = bounds;
        self.follower.set_history(bounds);
        if let Phase::Owner(pool) = &mut self.phase {
            pool.set_history(pool_now_ms, bounds);
        }
    }

    /// Handles one input at `now_ms` of this process's clock and returns what must be done.
    pub fn handle(&mut self, now_ms: u64, input: RoleInput) -> Vec<RoleEffect> {
        let (mut effects, refused_epochs) = (Vec::new(), self.follower.refused_epochs());
        let history_status = self.history_status();
        self.excuse_others(now_ms, &input);
        self.handle_input(now_ms, input, &mut effects);
        if self.history_status() != history_status {
            // Streams that an effect wakes must read the right history.
            effects.insert(0, RoleEffect::HistoryChanged);
        }
        if self.follower.refused_epochs() != refused_epochs {
            effects.push(RoleEffect::EpochRefused(self.follower.last_refused_epoch()));
        }
        effects
    }

    /// Records at each tick for how long the oldest message has waited that is not handled yet, in milliseconds: what was
    /// sent since then is not known.
    pub fn record_waiting(&mut self, waiting_ms: u64) {
        self.waiting_ms = waiting_ms;
        if let Phase::Owner(pool) = &mut self.phase {
            pool.record_waiting(waiting_ms);
        }
    }

    /// Returns the aggregator that owns the pool, if it sent a message recently, as far as messages are handled.
    fn heard_owner(&self, now_ms: u64) -> Option<(FrameSource, u64)> {
        self.follower.owner(now_ms.saturating_sub(self.waiting_ms))
    }

    /// Treats the time by which this process is late as if it had not passed, when the silence of others is measured.
    fn excuse_others(&mut self, now_ms: u64, input: &RoleInput) {
        let late_ms = self.lateness.more(now_ms);
        if matches!(input, RoleInput::Tick) {
            self.lateness.restart(now_ms);
        }
        // The follower must not count the same time once more.
        self.follower.record_time(now_ms);
        if late_ms == 0 {
            return;
        }
        self.follower.excuse(now_ms, late_ms);
        self.followers.excuse(now_ms, late_ms);
        let pool_now_ms = self.pool_now_ms(now_ms);
        if let Phase::Owner(pool) = &mut self.phase {
            pool.excuse(pool_now_ms, late_ms);
        }
    }

    fn handle_input(&mut self, now_ms: u64, input: RoleInput, effects: &mut Vec<RoleEffect>) {
        match input {
            RoleInput::Spec(spec) => {
                self.spec = Arc::clone(&spec);
                self.handle_as_owner(now_ms, PoolInput::Spec(spec), effects);
            }
            // These inputs only advance the version, so the next tick is early enough for the election and the
            // takeover.
            RoleInput::Pool(input) => {
                if let PoolInput::Feedback(feedback) = &input {
                    self.follower.hear_epoch(feedback.epoch);
                }
                return self.handle_as_owner(now_ms, input, effects);
            }
            RoleInput::EpochHeard(epoch) => drop(self.follower.hear_epoch(epoch)),
            RoleInput::PeerEvent(aggregator, event) => {
                self.handle_peer_event(now_ms, aggregator, event, effects)
            }
            RoleInput::FollowerJoined(follower, name) => {
                self.election.record_join(now_ms, &name);
                self.followers.add(follower, name);
            }
            RoleInput::FollowerMessage(follower, message) => {
                self.handle_follower_message(now_ms, follower, message)
            }
            RoleInput::FollowerCaughtUp(follower) => return self.record_caught_up(now_ms, follower),
            RoleInput::FollowerLeft(follower) => self.remove_follower(now_ms, follower),
            RoleInput::OwnerObserved(observed) => {
                observed.epoch().into_iter().for_each(|epoch| self.follower.confirm_epoch(epoch));
                self.election.observe_owner(observed);
            }
            RoleInput::ClaimAnswered(result) => self.apply_claim_result(now_ms, result, effects),
            RoleInput::Candidates(names) => self.election.set_candidates(now_ms, names),
            RoleInput::Tick => {
                self.handle_as_owner(now_ms, PoolInput::Tick, effects);
                self.expire_pins(now_ms);
            }
            RoleInput::Drain => self.drain(now_ms, effects),
        }
        self.advance_election(now_ms, effects);
        self.advance_takeover(now_ms, effects);
        self.advance_late_inheritance(now_ms, effects);
    }

    /// Lets the pool handle an input, if this aggregator owns it.
    fn handle_as_owner(&mut self, now_ms: u64, input: PoolInput, effects: &mut Vec<RoleEffect>) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        effects.extend(pool.handle(pool_now_ms, input).into_iter().map(RoleEffect::Pool));
    }

    /// Returns whether this aggregator has claimed the pool, and a process knows a higher epoch than that of the claim, or
    /// another one has written under the same.
    pub fn is_outranked(&self) -> bool {
        self.own_epoch().is_some_and(|own| self.epoch() > own || self.foreign_epoch >= own)
    }

    /// Returns the epoch of this aggregator's claim, if it owns the pool or takes it over.
    fn own_epoch(&self) -> Option<u64> {
        match self.status() {
            RoleStatus::Standby => None,
            RoleStatus::TakingOver(epoch) | RoleStatus::Owner(epoch) => Some(epoch),
        }
    }
}
