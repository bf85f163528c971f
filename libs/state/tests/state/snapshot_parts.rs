//! A snapshot that is captured in parts is the state at the version at which the capture began.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use signalbox_state::{
    ApplyOutcome, CatchUp, ClaimResult, FollowerPoll, FromFollower, JournalBounds, ObservedOwner, PollReply,
    PollWant, Pool, PoolConfig, PoolInput, PoolRole, PoolRoleConfig, RoleEffect, RoleInput, Snapshot,
    SnapshotCapture, SnapshotEntry, StateReplica,
};
use signalbox_types::{BlockHash, Format, Version};

use crate::feedback::partial_batch;
use crate::fixtures::random_steps::history;
use crate::fixtures::simulated_pool::SimulatedPool;
use crate::fixtures::state_contents::{Contents, rebuild};
use crate::fixtures::{
    OWNER, catch_up, config, endpoint, endpoint_spec, pool_spec, role_config, spec_with_models,
};

/// More parts than any state of these tests has.
const MAX_PARTS: usize = 1_000;

/// Returns the changes of a pool after `seq`, each with its number.
fn changes_after(pool: &Pool, seq: u64) -> Vec<(u64, signalbox_state::Change)> {
    let (mut changes, mut at) = (Vec::new(), Version { epoch: 1, seq });
    while let CatchUp::Frame(frame) = pool.journal().since(at) {
        at = frame.ends_at().unwrap();
        let signalbox_state::Frame::Delta { from, changes: more, .. } = frame else { continue };
        changes.extend((from + 1..).zip(more.iter().cloned()));
    }
    changes
}

proptest! {
    #[test]
    fn parts_between_any_changes_are_the_state_at_the_version(
        before in history(0..60),
        after in history(0..40),
        parts in vec((0_usize..4, 0_usize..6), 0..60),
    ) {
        let mut simulated = SimulatedPool::new(1, config());
        simulated.run(&before);
        let (expected, version) = (Contents::of(simulated.pool.pool_state()), simulated.pool.journal().head());
        let mut pool_state = rebuild(&simulated.pool.snapshot());
        simulated.run(&after);

        let mut changes = changes_after(&simulated.pool, version.seq).into_iter();
        let mut capture = SnapshotCapture::begin(&mut pool_state, version, Format::default());
        let mut is_complete = false;
        for (count, max_steps) in parts {
            for (seq, change) in changes.by_ref().take(count) {
                pool_state.apply(seq, &change).unwrap();
            }
            is_complete = is_complete || capture.advance(&mut pool_state, max_steps);
        }
        for (seq, change) in changes {
            pool_state.apply(seq, &change).unwrap();
        }
        for _ in 0..MAX_PARTS {
            is_complete = is_complete || capture.advance(&mut pool_state, 3);
        }
        prop_assert!(is_complete, "not after {} parts", MAX_PARTS);

        let (mut replica, snapshot) = (StateReplica::default(), Arc::new(capture.finish()));
        let outcome = snapshot.frames().map(|frame| replica.apply(OWNER, frame)).last();
        prop_assert_eq!((Some(ApplyOutcome::Reset), Some(version)), (outcome, replica.version()));
        prop_assert_eq!(expected, Contents::of(replica.pool_state()));
        // The changes meanwhile follow, as for any follower.
        catch_up(&mut replica, &simulated.pool);
        prop_assert_eq!(Contents::of(&pool_state), Contents::of(replica.pool_state()));
    }
}

/// Prompts of which the owner captures a part only with one input.
const PROMPTS: u64 = 14_000;

const TTL_MS: u64 = 3_000;

/// An owner with many prompts, and history for a few changes only.
pub(crate) struct Owner {
    pub(crate) role: PoolRole,
    now_ms: u64,
    /// The replica that places prompts.
    origin: u64,
    placed: u64,
}

impl Owner {
    pub(crate) fn start() -> Self {
        Self::with_history(64 << 20)
    }

    /// Starts an owner that keeps at most `max_bytes` of history, pinned or not.
    pub(crate) fn with_history(max_bytes: usize) -> Self {
        let journal = JournalBounds { keep_bytes: 2_048, keep_ms: 0, max_bytes };
        Self::with_config(PoolConfig { journal, ..config() })
    }

    pub(crate) fn with_config(config: PoolConfig) -> Self {
        let pool = PoolConfig { assumed_kv_tokens: 1 << 40, ..config };
        let role_config =
            PoolRoleConfig { pool, takeover_wait_ms: 0, lease_ttl_ms: TTL_MS, ..role_config("a") };
        let spec = pool_spec((0..4).map(|index| endpoint_spec(index, 0)));
        let mut owner = Self { role: PoolRole::new(role_config, spec), now_ms: 0, origin: 1, placed: 0 };
        owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 1, is_first: true }));
        (0..PROMPTS).for_each(|_| owner.place());
        // What the takeover left unfinished.
        (0..20).for_each(|_| drop(owner.tick()));
        owner
    }

    pub(crate) fn handle(&mut self, input: RoleInput) -> Vec<RoleEffect> {
        self.role.handle(self.now_ms, input)
    }

    pub(crate) fn tick(&mut self) -> Vec<RoleEffect> {
        self.now_ms += 50;
        self.handle(RoleInput::Tick)
    }

    /// Places the next prompt.
    pub(crate) fn place(&mut self) {
        self.placed += 1;
        let suffix = (1..=2).map(|block| BlockHash(self.placed * 10 + block)).collect();
        let placement = signalbox_state::Placement {
            number: self.placed,
            endpoint: endpoint(self.placed as usize % 4),
            incarnation: Default::default(),
            anchor: BlockHash::ROOT,
            suffix,
        };
        let batch = partial_batch(self.origin, self.placed, Vec::new(), vec![placement]);
        self.handle(RoleInput::Pool(PoolInput::Feedback(batch)));
    }

    pub(crate) fn poll(&mut self, follower: u64) -> PollReply {
        let (cursor, want) = (Version::default(), PollWant::Changes);
        self.role.poll(self.now_ms, FollowerPoll { follower, cursor, want })
    }

    pub(crate) fn version(&self) -> Version {
        self.role.version().unwrap()
    }

    pub(crate) fn covers(&self, version: Version) -> bool {
        self.role.pool().unwrap().journal().covers(version)
    }

    /// Goes on until the snapshot is complete, with changes between the parts. Returns what `follower` then gets.
    pub(crate) fn complete(&mut self, follower: u64) -> Arc<Snapshot> {
        for _ in 0..20 {
            (0..10).for_each(|_| self.place());
            self.handle(RoleInput::Pool(PoolInput::Continue));
        }
        let PollReply::Snapshot(snapshot) = self.poll(follower) else { panic!("the snapshot is complete") };
        snapshot
    }
}

fn runs(snapshot: &Snapshot) -> usize {
    let runs = snapshot.entries.iter().map(|entry| match &**entry {
        SnapshotEntry::Runs(runs) => runs.len(),
        _ => 0,
    });
    runs.sum()
}

#[test]
fn owner_goes_on_while_followers_wait_for_the_same_snapshot() {
    let mut owner = Owner::start();
    let version = owner.version();
    assert_eq!(PollReply::Later, owner.poll(1));
    let unfinished = RoleEffect::Pool(signalbox_state::PoolEffect::Unfinished);
    assert!(owner.handle(RoleInput::Pool(PoolInput::Continue)).contains(&unfinished));
    owner.place();
    assert_eq!(PollReply::Later, owner.poll(2), "it waits for the same");
    let snapshot = owner.complete(1);
    assert_eq!((version, PROMPTS as usize), (snapshot.version, runs(&snapshot)));
    assert_eq!(snapshot.digest, rebuild(&snapshot).digest());
    assert!(owner.covers(version), "the history after it is kept");
    let PollReply::Snapshot(same) = owner.poll(2) else { panic!("a snapshot") };
    assert!(Arc::ptr_eq(&snapshot, &same));
    for follower in [1, 2] {
        owner.handle(RoleInput::FollowerMessage(follower, FromFollower::Installed(version)));
    }
    owner.place();
    (0..60).for_each(|_| owner.place());
    assert!(!owner.covers(version), "it is not needed any more");
}

#[test]
fn ticks_alone_complete_a_snapshot() {
    let mut owner = Owner::start();
    let version = owner.version();
    assert_eq!(PollReply::Later, owner.poll(1));
    let is_capturing = |owner: &Owner| owner.role.pool().unwrap().is_capturing();
    assert!(is_capturing(&owner));
    let mut ticks = 0;
    while is_capturing(&owner) {
        assert!(ticks < 10, "ticks do not capture");
        owner.tick();
        ticks += 1;
    }
    assert!(ticks > 1, "one tick captured everything");
    let PollReply::Snapshot(snapshot) = owner.poll(1) else { panic!("the snapshot is complete") };
    assert_eq!((version, PROMPTS as usize), (snapshot.version, runs(&snapshot)));
}

#[test]
fn snapshot_that_is_not_needed_any_more_is_freed_in_parts() {
    let mut owner = Owner::start();
    assert_eq!(PollReply::Later, owner.poll(1));
    let snapshot = owner.complete(1);
    let entries: Vec<_> = snapshot.entries.iter().map(Arc::downgrade).collect();
    drop(snapshot);
    let left = || entries.iter().filter(|entry| entry.strong_count() > 0).count();
    let installed = FromFollower::Installed(owner.version());
    owner.handle(RoleInput::FollowerMessage(1, installed));
    assert_eq!(entries.len(), left());
    let mut inputs = 0;
    while left() > 0 && inputs < 20 {
        owner.handle(RoleInput::Pool(PoolInput::Continue));
        inputs += 1;
    }
    assert!((2..20).contains(&inputs), "{inputs}");
}

#[test]
fn snapshot_that_nobody_asks_for_any_more_is_dropped() {
    let mut owner = Owner::start();
    let version = owner.version();
    assert_eq!(PollReply::Later, owner.poll(1));
    owner.handle(RoleInput::FollowerLeft(1));
    (0..590).for_each(|_| drop(owner.tick()));
    // The origin has expired.
    owner.origin = 2;
    (0..60).for_each(|_| owner.place());
    assert!(owner.covers(version));
    (0..20).for_each(|_| drop(owner.tick()));
    assert!(!owner.covers(version));
    assert_eq!(PollReply::Later, owner.poll(1), "another capture begins");
    let later = owner.complete(1);
    assert_eq!((PROMPTS + 60, true), (runs(&later) as u64, later.version > version));
}

#[test]
fn four_followers_at_a_time_get_a_snapshot_that_was_captured_in_parts() {
    let mut owner = Owner::start();
    assert_eq!(PollReply::Later, owner.poll(1));
    owner.complete(1);
    let sent: BTreeSet<_> =
        (2..=6).filter(|follower| matches!(owner.poll(*follower), PollReply::Snapshot(_))).collect();
    assert_eq!(BTreeSet::from([2, 3, 4]), sent);
}

#[test]
fn epoch_that_begins_during_a_capture_needs_another_one() {
    let mut owner = Owner::start();
    let version = owner.version();
    assert_eq!(PollReply::Later, owner.poll(1));
    owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 2, is_first: false }));
    assert_eq!(PollReply::Later, owner.poll(1));
    let snapshot = owner.complete(1);
    assert_eq!((2, true), (snapshot.version.epoch, snapshot.version > version));
    assert_eq!(snapshot.digest, rebuild(&snapshot).digest());
}

#[test]
fn owner_that_steps_down_during_a_capture_captures_no_more() {
    let mut owner = Owner::start();
    assert_eq!(PollReply::Later, owner.poll(1));
    let other = ObservedOwner::Other { name: "b".to_owned(), epoch: 2 };
    owner.handle(RoleInput::OwnerObserved(other));
    assert!(owner.role.pool().is_none());
    assert!(!owner.role.pool_state().index_writer().is_capturing());
}

#[test]
fn change_of_models_during_a_capture_is_not_in_it() {
    let mut owner = Owner::start();
    let models = Arc::clone(owner.role.pool_state().models());
    assert_eq!(PollReply::Later, owner.poll(1));
    owner.handle(RoleInput::Spec(spec_with_models(crate::fixtures::models(1))));
    let snapshot = owner.complete(1);
    assert_eq!(&models, rebuild(&snapshot).models());
    assert_eq!(snapshot.digest, rebuild(&snapshot).digest());
}
