//! Measures how an owner that started with nothing fetches the state of an earlier owner from a follower, and continues it.

use std::sync::Arc;

use signalbox_state::{
    ClaimResult, Cursor, Follower, FollowerEffect, FollowerEvent, FollowerPoll, Frame, FrameSource,
    FromAggregator, FromFollower, HeardOwner, JournalBounds, JournaledReplica, ObservedOwner, PollReply,
    PollWant, Pool, PoolConfig, PoolRole, PoolRoleConfig, RoleEffect, RoleInput,
};
use signalbox_types::PoolSpec;

use super::stopwatch::Stopwatch;

/// The follower that holds the state of the earlier owner.
const FOLLOWER: u64 = 7;

/// The owner that fetches it, on the follower's side.
const AGGREGATOR: FrameSource = FrameSource::Aggregator(2);

/// The epochs of the owner before and after it has inherited.
const EPOCH: u64 = 5;
const NEXT_EPOCH: u64 = 6;

const TICK_MS: u64 = 50;

/// The longest folds of a late inheritance, in milliseconds of CPU time.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateFolds {
    /// A part of the follower's answer: the last one makes the state of what was fetched.
    pub(super) fetch_ms: f64,
    /// The owner continues what it has fetched instead of its own state.
    pub(super) inherit_ms: f64,
}

/// Lets an owner with this specification inherit the state of `earlier`, which is gone since `now_ms`.
pub(super) fn measure(earlier: &Pool, spec: Arc<PoolSpec>, now_ms: u64) -> LateFolds {
    let (mut follower, mut owner) = (follower_of(earlier, now_ms), start(spec, now_ms));
    let (mut fetching, mut inheriting) = (Stopwatch::default(), Stopwatch::default());
    follower.handle(now_ms, AGGREGATOR, FollowerEvent::Connected);
    let version = follower.replica().cursor();
    let cursor = Cursor { version, epoch: 1, heard: HeardOwner::Nobody, ..Cursor::default() };
    owner.handle(now_ms, RoleInput::FollowerMessage(FOLLOWER, FromFollower::Cursor(cursor)));
    let poll = FollowerPoll {
        follower: FOLLOWER,
        cursor: version.unwrap_or_default(),
        want: PollWant::ChangesAndHeartbeat,
    };
    for now_ms in (now_ms..).step_by(TICK_MS as usize).take(100) {
        let mut effects = fetching.time(|| owner.handle(now_ms, RoleInput::Tick));
        if let PollReply::Current(Some(message)) = owner.poll(now_ms, poll) {
            for answer in answers(&mut follower, now_ms, message) {
                let answer = RoleInput::FollowerMessage(FOLLOWER, answer);
                effects.extend(fetching.time(|| owner.handle(now_ms, answer)));
            }
        }
        if effects.iter().any(|effect| matches!(effect, RoleEffect::Claim { above: EPOCH, .. })) {
            let won = ClaimResult::Won { epoch: NEXT_EPOCH, is_first: false };
            inheriting.time(|| owner.handle(now_ms, RoleInput::ClaimAnswered(won)));
            break;
        }
    }
    let inherited = owner.pool().map(|pool| pool.pool_state().index_writer().index().len());
    assert_eq!(
        Some(earlier.pool_state().index_writer().index().len()),
        inherited,
        "the owner must have inherited all blocks"
    );
    LateFolds { fetch_ms: fetching.longest_ms(), inherit_ms: inheriting.longest_ms() }
}

/// Returns a follower that holds everything of `pool` and follows nobody any more.
fn follower_of(pool: &Pool, now_ms: u64) -> Follower {
    let mut follower = Follower::new(JournaledReplica::new(JournalBounds::default()));
    let owner = FrameSource::Aggregator(1);
    let (head, digest) = (pool.journal().head(), pool.pool_state().digest());
    let heartbeat = Frame::Heartbeat { epoch: head.epoch, seq: head.seq, now_ms, digest };
    follower.handle(now_ms, owner, FollowerEvent::Connected);
    for frame in Arc::new(pool.snapshot()).frames().chain([heartbeat]) {
        follower.handle(now_ms, owner, FollowerEvent::Received(FromAggregator::Frame(frame)));
    }
    follower.handle(now_ms, owner, FollowerEvent::Disconnected);
    follower
}

/// Returns an aggregator that owns the pool and started with nothing.
fn start(spec: Arc<PoolSpec>, now_ms: u64) -> PoolRole {
    let config = PoolRoleConfig {
        name: "a".to_owned(),
        pool_hash: 1,
        pool: PoolConfig::default(),
        takeover_wait_ms: 2_000,
        lease_ttl_ms: 6_000,
        failback_after_ms: 30_000,
    };
    let mut role = PoolRole::new(config, spec);
    role.handle(now_ms, RoleInput::OwnerObserved(ObservedOwner::Nobody));
    role.handle(now_ms, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: EPOCH, is_first: true }));
    role.handle(now_ms, RoleInput::OwnerObserved(ObservedOwner::Own(EPOCH)));
    role
}

fn answers(follower: &mut Follower, now_ms: u64, message: FromAggregator) -> Vec<FromFollower> {
    let effects = follower.handle(now_ms, AGGREGATOR, FollowerEvent::Received(message));
    let sent = effects.into_iter().filter_map(|effect| match effect {
        FollowerEffect::Send(AGGREGATOR, message) => Some(message),
        _ => None,
    });
    sent.collect()
}
