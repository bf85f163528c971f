//! One aggregator's seat at a pool: it owns the pool, or follows the one that does, and takes over when that one is gone.

mod answer;
mod change_of_owner;

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{PoolSpec, Version};

pub use self::answer::{Answer, Ask, Want};
use crate::election::{Claimed, Election, Move, Seen};
use crate::follower::Follower;
use crate::following::{Following, FromFollower, Heard, Offering, Todo};
use crate::frame::Snapshot;
use crate::heir::{Heir, Next};
use crate::pool::{Effect, Input, Pool, PoolConfig};
use crate::replica::{Gap, Source};

/// A follower that was sent all there was lacks nothing to speak of for so long.
const CURRENT_MS: u64 = 1_000;

/// What a seat goes by.
#[derive(Clone, Debug)]
pub struct SeatConfig {
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
pub enum SeatInput {
    /// The pool has these endpoints, and says this of models.
    Spec(PoolSpec),
    /// For the owner: of collectors and replicas. One that does not own the pool takes no notice.
    Owned(Input),
    /// On the stream to another aggregator, numbered by whoever reads it.
    Heard(u64, Heard),
    /// Somebody of this name follows this aggregator, on this stream.
    Followed(u64, String),
    /// On a stream of one who follows this aggregator.
    Told(u64, FromFollower),
    /// The stream of a follower is over.
    Unfollowed(u64),
    /// The coordinator says who owns the pool.
    Seen(Seen),
    /// The coordinator answered a claim.
    Claimed(Claimed),
    /// These aggregators live.
    Candidates(Vec<String>),
    /// Time has passed. Comes about every 50 ms.
    Tick,
    /// This aggregator is about to end, and leaves the pool to another.
    Drain,
}

/// Where an aggregator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It follows.
    Standby,
    /// It has claimed the pool under this epoch and gathers what is known of it.
    Heir(u64),
    /// It owns the pool under this epoch.
    Owner(u64),
}

/// What is to be done after an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatEffect {
    /// What the owner does.
    Pool(Effect),
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
    Stands(Standing),
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
    Heir(Heir),
    Owner(Box<Pool>),
}

/// One who follows this aggregator.
#[derive(Debug, Default)]
struct Listener {
    name: String,
    /// When it was last sent all there was.
    current_at_ms: Option<u64>,
}

/// One aggregator's seat at a pool.
#[derive(Debug)]
pub struct Seat {
    config: SeatConfig,
    spec: PoolSpec,
    /// What is held unless the pool is owned; and, always, what other aggregators say of themselves.
    following: Following,
    phase: Phase,
    election: Election,
    followers: BTreeMap<u64, Listener>,
    /// The pool's clock at a moment of this process's.
    clock_ms: (u64, u64),
    latest_snapshot: Option<Arc<Snapshot>>,
}

impl Seat {
    /// A seat that holds nothing yet.
    pub fn new(config: SeatConfig, spec: PoolSpec) -> Self {
        Self {
            following: Following::new(Follower::new(config.pool.journal)),
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
    pub fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Standby => Standing::Standby,
            Phase::Heir(heir) => Standing::Heir(heir.epoch),
            Phase::Owner(pool) => Standing::Owner(pool.journal().head().epoch),
        }
    }

    /// The pool, if it is owned.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.phase {
            Phase::Owner(pool) => Some(pool),
            Phase::Standby | Phase::Heir(_) => None,
        }
    }

    /// What is held, by an owner or by a standby.
    pub fn picture(&self) -> &crate::picture::Picture {
        self.pool().map_or_else(|| self.following.follower().replica().picture(), Pool::picture)
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
    pub fn fold(&mut self, now_ms: u64, input: SeatInput) -> Vec<SeatEffect> {
        let mut effects = Vec::new();
        match input {
            SeatInput::Spec(spec) => {
                self.spec = spec.clone();
                self.own(now_ms, Input::Spec(spec), &mut effects);
            }
            // Its only consequences are versions that are counted in order, so nothing else has to be looked at.
            SeatInput::Owned(input) => {
                self.own(now_ms, input, &mut effects);
                return effects;
            }
            SeatInput::Heard(aggregator, heard) => self.hear(now_ms, aggregator, heard, &mut effects),
            SeatInput::Followed(follower, name) => {
                self.followers.insert(follower, Listener { name, current_at_ms: None });
            }
            SeatInput::Told(follower, told) => self.told(now_ms, follower, told),
            SeatInput::Unfollowed(follower) => self.unfollowed(follower),
            SeatInput::Seen(seen) => self.election.seen(seen),
            SeatInput::Claimed(claimed) => self.claimed(now_ms, claimed, &mut effects),
            SeatInput::Candidates(names) => self.election.candidates(now_ms, names),
            SeatInput::Tick => self.own(now_ms, Input::Tick, &mut effects),
            SeatInput::Drain => self.drain(now_ms, &mut effects),
        }
        self.elect(now_ms, &mut effects);
        self.inherit(now_ms, &mut effects);
        effects
    }

    /// Lets the pool take an input, if it is owned.
    fn own(&mut self, now_ms: u64, input: Input, effects: &mut Vec<SeatEffect>) {
        let pool_now_ms = self.pool_now_ms(now_ms);
        let Phase::Owner(pool) = &mut self.phase else { return };
        for effect in pool.fold(pool_now_ms, input) {
            match effect {
                Effect::Outranked(epoch) => self.election.outranked(epoch),
                effect => effects.push(SeatEffect::Pool(effect)),
            }
        }
    }

    fn hear(&mut self, now_ms: u64, aggregator: u64, heard: Heard, effects: &mut Vec<SeatEffect>) {
        let source = Source::Aggregator(aggregator);
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
                    Phase::Heir(heir) => heir.stands(follower, cursor.version),
                    Phase::Owner(pool) if cursor.epoch > pool.journal().head().epoch => {
                        self.election.outranked(cursor.epoch);
                    }
                    Phase::Owner(_) => {}
                }
            }
            FromFollower::Offered(frame) => {
                let Phase::Heir(heir) = &mut self.phase else { return };
                if heir.has_asked(follower)
                    && self.following.take_offered(now_ms, Source::Follower(follower), frame)
                        == Offering::Ended
                {
                    heir.is_gone(follower);
                }
            }
        }
    }

    fn unfollowed(&mut self, follower: u64) {
        self.followers.remove(&follower);
        self.following.offered_no_more(Source::Follower(follower));
        match &mut self.phase {
            Phase::Standby => {}
            Phase::Heir(heir) => heir.is_gone(follower),
            Phase::Owner(pool) => pool.journal_mut().unpin(follower),
        }
    }

    fn elect(&mut self, now_ms: u64, effects: &mut Vec<SeatEffect>) {
        let hears_owner = self.following.owner(now_ms).is_some();
        let is_warm = self.election.preferred().is_some_and(|name| self.is_current(now_ms, name));
        self.election.preferred_is_warm(is_warm);
        match self.election.next(now_ms, hears_owner) {
            Some(Move::Claim) => effects.push(SeatEffect::Claim { above: self.epoch() }),
            Some(Move::StepDown) => self.step_down(now_ms, effects),
            Some(Move::GiveBack) => self.leave(now_ms, effects),
            None => {}
        }
    }

    /// Whether the follower of this name has been sent all there is.
    fn is_current(&self, now_ms: u64, name: &str) -> bool {
        let is_current = |listener: &Listener| {
            listener.name == name && listener.current_at_ms.is_some_and(|at_ms| now_ms < at_ms + CURRENT_MS)
        };
        self.followers.values().any(is_current)
    }

    fn inherit(&mut self, now_ms: u64, effects: &mut Vec<SeatEffect>) {
        let (held, known) = (self.following.follower().cursor(), self.following.epoch());
        let owner = self.following.owner(now_ms);
        let Phase::Heir(heir) = &mut self.phase else { return };
        // What is gathered may be of an owner that was elected since; under its epoch nobody else must write.
        if owner.is_some_and(|(_, epoch)| epoch > heir.epoch) {
            return self.step_down(now_ms, effects);
        }
        if known > heir.epoch {
            return self.election.outranked(known);
        }
        match heir.next(now_ms, held) {
            Next::Wait => {}
            Next::Ask(_) => effects.push(SeatEffect::Stirred),
            Next::Take => {
                let epoch = heir.epoch;
                self.take_over(now_ms, epoch, effects);
            }
        }
    }
}

fn effect(todo: Todo) -> Option<SeatEffect> {
    match todo {
        Todo::Tell(Source::Aggregator(aggregator), said) => Some(SeatEffect::Tell(aggregator, said)),
        Todo::Missed(gap) => Some(SeatEffect::Missed(gap)),
        Todo::Replaced => Some(SeatEffect::Replaced),
        Todo::Tell(Source::Follower(_), _) | Todo::Moved => None,
    }
}
