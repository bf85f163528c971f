//! The owner of a pool's state and who follows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_state::{
    CatchUp, CollectorStream, Frame, Pool, PoolConfig, PoolEffect, PoolInput, Report, Update,
};
use signalbox_types::{EndpointKey, Generation, Load, Origin, PoolSpec, Version};

/// The only collector.
const STREAM: CollectorStream = CollectorStream(1);

/// The owner of a pool's state and who follows it.
pub(super) struct Owner {
    pool: Pool,
    generations: BTreeMap<EndpointKey, Generation>,
    followers: Vec<Follower>,
}

struct Follower {
    replica: usize,
    sent: Version,
}

/// What is on its way to a replica.
pub(super) enum Message {
    Frames(Vec<Frame>),
    /// It is asked for the whole chain of a placement.
    NeedChain(u64),
}

impl Owner {
    /// An owner that knows the pool's endpoints, and the snapshot that each of `replicas` begins with.
    pub(super) fn new(spec: PoolSpec, replicas: impl Iterator<Item = usize>) -> (Self, Vec<Frame>) {
        let mut pool = Pool::new(1, PoolConfig::default());
        pool.fold(0, PoolInput::Spec(spec));
        let effects = pool.fold(0, PoolInput::CollectorJoined(STREAM, "collector".to_owned()));
        let assigned = effects.into_iter().filter_map(|effect| match effect {
            PoolEffect::Assign(_, assigned) => Some(assigned),
            _ => None,
        });
        let generations = assigned.flatten().map(|one| (one.endpoint, one.generation)).collect();
        let snapshot = Arc::new(pool.snapshot());
        let followers = replicas.map(|replica| Follower { replica, sent: snapshot.version }).collect();
        (Self { pool, generations, followers }, snapshot.frames().collect())
    }

    /// Takes what its collector has to say of an endpoint.
    pub(super) fn report(&mut self, now_ms: u64, endpoint: EndpointKey, age_ms: u64, update: Update) {
        let generation = self.generations.get(&endpoint).copied().unwrap_or_default();
        let report = Report { endpoint, generation, age_ms, update };
        self.pool.fold(now_ms, PoolInput::Reports(STREAM, vec![report]));
    }

    /// Takes an input; returns which replicas are asked for which of their chains.
    pub(super) fn fold(&mut self, now_ms: u64, input: PoolInput) -> Vec<(Origin, u64)> {
        let effects = self.pool.fold(now_ms, input);
        let chains = effects.into_iter().filter_map(|effect| match effect {
            PoolEffect::NeedChain(origin, number) => Some((origin, number)),
            PoolEffect::Expired(origin) => {
                panic!("replica {origin} was given up, though it spoke all the time")
            }
            PoolEffect::Published(_)
            | PoolEffect::Assign(..)
            | PoolEffect::Dropped(_)
            | PoolEffect::Outranked(_)
            | PoolEffect::Count(_) => None,
        });
        chains.collect()
    }

    /// Time passes, and its collector gives a sign of life.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.pool.fold(now_ms, PoolInput::Reports(STREAM, Vec::new()));
        self.pool.fold(now_ms, PoolInput::Tick);
    }

    /// What each follower lacks.
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

    /// A replica is gone.
    pub(super) fn leave(&mut self, replica: usize) {
        self.followers.retain(|follower| follower.replica != replica);
    }

    /// A replica is there and gets a snapshot.
    pub(super) fn welcome(&mut self, replica: usize) -> Vec<Frame> {
        let snapshot = Arc::new(self.pool.snapshot());
        self.followers.push(Follower { replica, sent: snapshot.version });
        snapshot.frames().collect()
    }

    /// A standby that held the same takes over.
    pub(super) fn turn(&mut self) {
        let epoch = self.pool.journal().head().epoch + 1;
        self.pool.turn(epoch);
    }

    /// A replica holds this much.
    pub(super) fn resume(&mut self, replica: usize, version: Version) {
        let known = self.followers.iter_mut().find(|follower| follower.replica == replica);
        known.into_iter().for_each(|follower| follower.sent = version);
    }

    /// A sign of life for each follower, with the sums of what it ought to hold.
    pub(super) fn beat(&self, now_ms: u64, mut send: impl FnMut(usize, Message)) {
        let digest = self.pool.pool_state().digest();
        for Follower { replica, sent } in &self.followers {
            let beat = Frame::Heartbeat { epoch: sent.epoch, seq: sent.seq, now_ms, digest };
            send(*replica, Message::Frames(vec![beat]));
        }
    }

    /// All work in flight that it knows of.
    pub(super) fn load(&self) -> Load {
        self.pool.pool_state().endpoints().fold(Load::ZERO, |sum, member| sum + member.load())
    }
}
