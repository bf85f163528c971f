//! The owner of a pool's state, with its followers.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_state::{
    CatchUp, CollectorStream, Frame, Pool, PoolConfig, PoolEffect, PoolInput, Report, Update,
};
use signalbox_types::{EndpointKey, Generation, Load, Origin, PoolSpec, Version};

/// The only collector's stream.
const COLLECTOR: CollectorStream = CollectorStream(1);

/// The owner of a pool's state, with its followers.
pub(super) struct Owner {
    pool: Pool,
    generations: BTreeMap<EndpointKey, Generation>,
    followers: Vec<Follower>,
    /// After how many milliseconds it asks to be woken up.
    wakes: Vec<u64>,
}

struct Follower {
    replica: usize,
    sent: Version,
}

/// A message to a replica.
pub(super) enum Message {
    Frames(Vec<Frame>),
    /// Requests the whole chain of a placement.
    NeedChain(u64),
}

impl Owner {
    /// Creates an owner that knows the pool's endpoints; also returns the snapshot with which each of
    /// `replicas` starts.
    pub(super) fn new(spec: PoolSpec, replicas: impl Iterator<Item = usize>) -> (Self, Vec<Frame>) {
        let mut pool = Pool::new(1, PoolConfig::default());
        pool.handle(0, PoolInput::Spec(spec.into()));
        let effects = pool.handle(0, PoolInput::CollectorJoined(COLLECTOR, "collector".to_owned()));
        let assigned = effects.into_iter().filter_map(|effect| match effect {
            PoolEffect::Assign(_, assigned) => Some(assigned),
            _ => None,
        });
        let generations = assigned.flatten().map(|one| (one.endpoint, one.generation)).collect();
        let snapshot = Arc::new(pool.snapshot());
        let followers = replicas.map(|replica| Follower { replica, sent: snapshot.version }).collect();
        (Self { pool, generations, followers, wakes: Vec::new() }, snapshot.frames().collect())
    }

    /// Applies what a collector reports that it scraped `age_ms` ago.
    pub(super) fn report(&mut self, now_ms: u64, age_ms: u64, updates: Vec<(EndpointKey, Update)>) {
        let report = |(endpoint, update)| {
            let generation = self.generations.get(&endpoint).copied().unwrap_or_default();
            Report { endpoint, generation, age_ms, update }
        };
        let reports = updates.into_iter().map(report).collect();
        self.handle(now_ms, PoolInput::Reports(COLLECTOR, reports));
    }

    /// Handles an input of which only wake-ups follow.
    fn handle(&mut self, now_ms: u64, input: PoolInput) {
        let effects = self.pool.handle(now_ms, input);
        self.wakes.extend(effects.into_iter().filter_map(|effect| match effect {
            PoolEffect::GrantAfter(after_ms) => Some(after_ms),
            _ => None,
        }));
    }

    /// Takes after how many milliseconds the owner asks to be woken up.
    pub(super) fn take_wakes(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.wakes)
    }

    /// Applies an input; returns which replicas must send which of their chains.
    pub(super) fn fold(&mut self, now_ms: u64, input: PoolInput) -> Vec<(Origin, u64)> {
        let (mut chains, mut next) = (Vec::new(), Some(input));
        while let Some(input) = next.take() {
            for effect in self.pool.handle(now_ms, input) {
                match effect {
                    PoolEffect::NeedChain(origin, number) => chains.push((origin, number)),
                    PoolEffect::Expired(origin) => {
                        panic!("origin {origin} expired although its replica sent feedback")
                    }
                    PoolEffect::GrantAfter(after_ms) => self.wakes.push(after_ms),
                    PoolEffect::FeedbackLeft(rest) => next = Some(PoolInput::FeedbackRest(rest)),
                    PoolEffect::Published(_)
                    | PoolEffect::Assign(..)
                    | PoolEffect::CloseCollector(_)
                    | PoolEffect::Unfinished
                    | PoolEffect::StoreSignal(_)
                    | PoolEffect::Count(_) => {}
                }
            }
        }
        chains
    }

    /// Advances time; the collector shows that it is alive.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.handle(now_ms, PoolInput::Reports(COLLECTOR, Vec::new()));
        self.handle(now_ms, PoolInput::Tick);
    }

    /// Sends each follower the frames that it is missing.
    pub(super) fn publish(&mut self, mut send: impl FnMut(usize, Message)) {
        for follower in &mut self.followers {
            let mut frames = Vec::new();
            while let CatchUp::Frame(frame) = self.pool.journal().since(follower.sent) {
                follower.sent = frame.ends_at().unwrap_or(follower.sent);
                frames.push(frame);
            }
            if !frames.is_empty() {
                send(follower.replica, Message::Frames(frames));
            }
        }
    }

    /// Removes a replica.
    pub(super) fn remove_follower(&mut self, replica: usize) {
        self.followers.retain(|follower| follower.replica != replica);
    }

    /// Adds a replica; returns its snapshot.
    pub(super) fn add_follower(&mut self, replica: usize) -> Vec<Frame> {
        let snapshot = Arc::new(self.pool.snapshot());
        self.followers.push(Follower { replica, sent: snapshot.version });
        snapshot.frames().collect()
    }

    /// Lets a standby with the same state take over.
    pub(super) fn start_next_epoch(&mut self) {
        let epoch = self.pool.journal().head().epoch + 1;
        self.pool.begin_epoch(epoch);
    }

    /// Sets the version that a replica holds.
    pub(super) fn set_follower_version(&mut self, replica: usize, version: Version) {
        let known = self.followers.iter_mut().find(|follower| follower.replica == replica);
        known.into_iter().for_each(|follower| follower.sent = version);
    }

    /// Sends each follower a heartbeat with the digest of the state.
    pub(super) fn send_heartbeats(&self, now_ms: u64, mut send: impl FnMut(usize, Message)) {
        let digest = self.pool.pool_state().digest();
        for Follower { replica, sent } in &self.followers {
            let heartbeat = Frame::Heartbeat { epoch: sent.epoch, seq: sent.seq, now_ms, digest };
            send(*replica, Message::Frames(vec![heartbeat]));
        }
    }

    /// Returns the sum of all load in the state.
    pub(super) fn load(&self) -> Load {
        let pool_state = self.pool.pool_state();
        pool_state.endpoints().fold(Load::ZERO, |sum, member| sum + pool_state.loads().total(member.key))
    }
}
