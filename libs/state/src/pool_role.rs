//! One aggregator's seat at a pool: it owns the pool, or follows the one that does, and takes over when that one is gone.

mod change_of_owner;
mod poll;

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{PoolSpec, Version};

pub use self::poll::{FollowerPoll, PollReply, PollWant};
use crate::election::{ClaimResult, Election, ElectionStep, ObservedOwner};
use crate::follower::{Follower, FollowerEffect, FollowerEvent, FromFollower, Offering};
use crate::frame::Snapshot;
use crate::journaled_replica::JournaledReplica;
use crate::pool::{Pool, PoolConfig, PoolEffect, PoolInput};
use crate::state_replica::{FrameSource, Gap};
use crate::takeover::{Takeover, TakeoverStep};

/// A follower that was sent all there was lacks nothing to speak of for so long.
const CURRENT_MS: u64 = 1_000;

/// What a seat goes by.
#[derive(Clone, Debug)]
pub struct PoolRoleConfig {
    /// The aggregator's name, unlike any other's.
    pub name: String,
    /// The pool's, and what places it among the pools: aggregators prefer different pools.
    pub pool_hash: u64,
    /// What the owner goes by.
    pub pool: PoolConfig,
    /// How long one that holds nothing waits for somebody who does, before it begins from nothing.
    pub inherit_within_ms: u64,
    /// An owner leaves the pool to the aggregator that comes first for it when that has lived for so long.
    pub give_back_after_ms: u64,
}

/// What a seat is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleInput {
    /// The pool has these endpoints, and says this of models.
    Spec(PoolSpec),
    /// For the owner: of collectors and replicas. One that does not own the pool takes no notice.
    Owned(PoolInput),
    /// On the stream to another aggregator, numbered by whoever reads it.
    FollowerEvent(u64, FollowerEvent),
    /// Somebody of this name follows this aggregator, on this stream.
    Followed(u64, String),
    /// On a stream of one who follows this aggregator.
    Told(u64, FromFollower),
    /// The stream of a follower is over.
    Unfollowed(u64),
    /// The coordinator says who owns the pool.
    ObservedOwner(ObservedOwner),
    /// The coordinator answered a claim.
    ClaimResult(ClaimResult),
    /// These aggregators live.
    Candidates(Vec<String>),
    /// Time has passed. Comes about every 50 ms.
    Tick,
    /// This aggregator is about to end, and leaves the pool to another.
    Drain,
}

/// Where an aggregator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleStatus {
    /// It follows.
    Standby,
    /// It has claimed the pool under this epoch and gathers what is known of it.
    TakingOver(u64),
    /// It owns the pool under this epoch.
    Owner(u64),
}

/// What is to be done after an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleEffect {
    /// What the owner does.
    Pool(PoolEffect),
    /// Say this on the stream to another aggregator.
    Tell(u64, FromFollower),
    /// Claim the pool under an epoch above this one.
    Claim {
        /// The highest that is known.
        above: u64,
    },
    /// Give the pool up at the coordinator.
    Release,
    /// This is where it stands now. Streams of collectors and feedback are for the owner alone.
    Stands(RoleStatus),
    /// There is news for followers: each shall ask.
    Stirred,
    /// A frame of the owner could not be taken.
    Missed(Gap),
    /// A snapshot took the place of what a standby held.
    Replaced,
}

/// Three pools in one, of which it has one at a time.
#[derive(Debug)]
enum Phase {
    Standby,
    Takeover(Takeover),
    Owner(Box<Pool>),
}

/// One who follows this aggregator.
#[derive(Debug, Default)]
struct FollowerProgress {
    name: String,
    /// When it was last sent all there was.
    current_at_ms: Option<u64>,
}

/// One aggregator's seat at a pool.
#[derive(Debug)]
pub struct PoolRole {
    config: PoolRoleConfig,
    spec: PoolSpec,
    /// What is held unless the pool is owned; and, always, what other aggregators say of themselves.
    following: Follower,
    phase: Phase,
    election: Election,
    followers: BTreeMap<u64, FollowerProgress>,
    /// The pool's clock at a moment of this process's.
    clock_ms: (u64, u64),
    latest_snapshot: Option<Arc<Snapshot>>,
}

impl PoolRole {
    /// A seat that holds nothing yet.
    pub fn new(config: PoolRoleConfig, spec: PoolSpec) -> Self {
        Self {
            following: Follower::new(JournaledReplica::new(config.pool.journal)),
            election: Election::new(config.name.clone(), config.pool_hash, config.give_back_after_ms),
            config,
            spec,
            phase: Phase::Standby,
            followers: BTreeMap::new(),
            clock_ms: (0, 0),
            latest_snapshot: None,
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> RoleStatus {
        match &self.phase {
            Phase::Standby => RoleStatus::Standby,
            Phase::Takeover(takeover) => RoleStatus::TakingOver(takeover.epoch),
            Phase::Owner(pool) => RoleStatus::Owner(pool.journal().head().epoch),
        }
    }

    /// The pool, if it is owned.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.phase {
            Phase::Owner(pool) => Some(pool),
            Phase::Standby | Phase::Takeover(_) => None,
        }
    }

    /// What is held, by an owner or by a standby.
    pub fn pool_state(&self) -> &crate::pool_state::PoolState {
        self.pool().map_or_else(|| self.following.follower().replica().pool_state(), Pool::pool_state)
    }

    /// The version of what is held; `None` when nothing is, or nothing that can be built on.
    pub fn version(&self) -> Option<Version> {
        self.pool().map_or_else(|| self.following.follower().cursor(), |pool| Some(pool.journal().head()))
    }

    /// The highest epoch that is known.
    pub fn epoch(&self) -> u64 {
        self.following.epoch().max(self.version().map_or(0, |version| version.epoch))
    }

    /// Whether another aggregator is heard that owns the pool.
    pub fn hears_owner(&self, now_ms: u64) -> bool {
        self.following.owner(now_ms).is_some()
    }

    /// The pool's clock at `now_ms` of this process's.
    pub fn pool_now_ms(&self, now_ms: u64) -> u64 {
        let (pool_ms, at_ms) = self.clock_ms;
        pool_ms + now_ms.saturating_sub(at_ms)
    }

    /// Takes one input at `now_ms` of this process's clock.
    pub fn fold(&mut self, now_ms: u64, input: RoleInput) -> Vec<RoleEffect> {
        let mut effects = Vec::new();
        match input {
            RoleInput::Spec(spec) => {
                self.spec = spec.clone();
                self.own(now_ms, PoolInput::Spec(spec), &mut effects);
            }
            // Its only consequences are versions that are counted in order, so nothing else has to be looked at.
            RoleInput::Owned(input) => {
                self.own(now_ms, input, &mut effects);
                return effects;
            }
            RoleInput::FollowerEvent(aggregator, heard) => self.hear(now_ms, aggregator, heard, &mut effects),
            RoleInput::Followed(follower, name) => {
                self.followers.insert(follower, FollowerProgress { name, current_at_ms: None });
            }
            RoleInput::Told(follower, told) => self.told(now_ms, follower, told),
            RoleInput::Unfollowed(follower) => self.unfollowed(follower),
            RoleInput::ObservedOwner(seen) => self.election.seen(seen),
            RoleInput::ClaimResult(claimed) => self.claimed(now_ms, claimed, &mut effects),
            RoleInput::Candidates(names) => self.election.candidates(now_ms, names),
            RoleInput::Tick => self.own(now_ms, PoolInput::Tick, &mut effects),
            RoleInput::Drain => self.drain(now_ms, &mut effects),
        }
        self.elect(now_ms, &mut effects);
        self.inherit(now_ms, &mut effects);
        effects
    }

    /// Lets the pool take an input, if it is owned.
    fn own(&mut self, now_ms: u64, input: PoolInput, effects: &mut Vec<RoleEffect>) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        for effect in pool.fold(pool_now_ms, input) {
            match effect {
                PoolEffect::Outranked(epoch) => self.election.outranked(epoch),
                effect => effects.push(RoleEffect::Pool(effect)),
            }
        }
    }

    fn hear(&mut self, now_ms: u64, aggregator: u64, heard: FollowerEvent, effects: &mut Vec<RoleEffect>) {
        let source = FrameSource::Aggregator(aggregator);
        if let Phase::Owner(pool) = &self.phase {
            let version = pool.journal().head();
            let todo = self.following.overhear(now_ms, source, &heard, version);
            effects.extend(todo.and_then(effect));
            if self.following.owned_under(source).is_none_or(|epoch| epoch <= version.epoch) {
                return;
            }
            self.step_down(now_ms, effects);
        }
        effects.extend(self.following.hear(now_ms, source, heard).into_iter().filter_map(effect));
    }

    fn told(&mut self, now_ms: u64, follower: u64, told: FromFollower) {
        self.followers.entry(follower).or_default();
        match told {
            FromFollower::Cursor(cursor) => {
                self.following.heard_of(cursor.epoch);
                match &mut self.phase {
                    Phase::Standby => {}
                    Phase::Takeover(takeover) => takeover.stands(follower, cursor.version),
                    Phase::Owner(pool) if cursor.epoch > pool.journal().head().epoch => {
                        self.election.outranked(cursor.epoch);
                    }
                    Phase::Owner(_) => {}
                }
            }
            FromFollower::Offered(frame) => {
                let Phase::Takeover(takeover) = &mut self.phase else { return };
                if takeover.has_asked(follower)
                    && self.following.take_offered(now_ms, FrameSource::JournaledReplica(follower), frame)
                        == Offering::Ended
                {
                    takeover.is_gone(follower);
                }
            }
        }
    }

    fn unfollowed(&mut self, follower: u64) {
        self.followers.remove(&follower);
        self.following.offered_no_more(FrameSource::JournaledReplica(follower));
        match &mut self.phase {
            Phase::Standby => {}
            Phase::Takeover(takeover) => takeover.is_gone(follower),
            Phase::Owner(pool) => pool.journal_mut().unpin(follower),
        }
    }

    fn elect(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let hears_owner = self.following.owner(now_ms).is_some();
        let is_warm = self.election.preferred().is_some_and(|name| self.is_current(now_ms, name));
        self.election.preferred_is_warm(is_warm);
        match self.election.next(now_ms, hears_owner) {
            Some(ElectionStep::Claim) => effects.push(RoleEffect::Claim { above: self.epoch() }),
            Some(ElectionStep::StepDown) => self.step_down(now_ms, effects),
            Some(ElectionStep::GiveBack) => self.leave(now_ms, effects),
            None => {}
        }
    }

    /// Whether the follower of this name has been sent all there is.
    fn is_current(&self, now_ms: u64, name: &str) -> bool {
        let is_current = |listener: &FollowerProgress| {
            listener.name == name && listener.current_at_ms.is_some_and(|at_ms| now_ms < at_ms + CURRENT_MS)
        };
        self.followers.values().any(is_current)
    }

    fn inherit(&mut self, now_ms: u64, effects: &mut Vec<RoleEffect>) {
        let (held, known) = (self.following.follower().cursor(), self.following.epoch());
        let owner = self.following.owner(now_ms);
        let Phase::Takeover(takeover) = &mut self.phase else { return };
        // What is gathered may be of an owner that was elected since; under its epoch nobody else must write.
        if owner.is_some_and(|(_, epoch)| epoch > takeover.epoch) {
            return self.step_down(now_ms, effects);
        }
        if known > takeover.epoch {
            return self.election.outranked(known);
        }
        match takeover.next(now_ms, held) {
            TakeoverStep::Wait => {}
            TakeoverStep::FollowerPoll(_) => effects.push(RoleEffect::Stirred),
            TakeoverStep::Take => {
                let epoch = takeover.epoch;
                self.take_over(now_ms, epoch, effects);
            }
        }
    }
}

fn effect(todo: FollowerEffect) -> Option<RoleEffect> {
    match todo {
        FollowerEffect::Tell(FrameSource::Aggregator(aggregator), said) => {
            Some(RoleEffect::Tell(aggregator, said))
        }
        FollowerEffect::Missed(gap) => Some(RoleEffect::Missed(gap)),
        FollowerEffect::Replaced => Some(RoleEffect::Replaced),
        FollowerEffect::Tell(FrameSource::JournaledReplica(_), _) | FollowerEffect::Moved => None,
    }
}
