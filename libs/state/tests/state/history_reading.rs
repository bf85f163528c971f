//! The streams of followers read the owner's history by themselves: they get signs of life however far behind they are, and
//! the history after a snapshot is kept until the follower has installed it.

use signalbox_state::{
    BeyondHistory, ClaimResult, Follower, FollowerEffect, FollowerEvent, FollowerPoll, Frame, FrameSource,
    FromAggregator, FromFollower, JournalBounds, JournaledReplica, ObservedOwner, PollReply, PollWant,
    PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus, Snapshot,
};
use signalbox_types::Version;

use crate::fixtures::{config, endpoint_spec, models, pool_spec, role_config, spec_with_models};

const FOLLOWER: u64 = 7;
const AGGREGATOR: FrameSource = FrameSource::Aggregator(1);
/// History for a few changes only.
const LITTLE: JournalBounds = JournalBounds { keep_bytes: 2_048, keep_ms: 0, max_bytes: 1 << 20 };

struct Owner {
    role: PoolRole,
    now_ms: u64,
}

impl Owner {
    fn start() -> Self {
        let mut pool = config();
        pool.journal = LITTLE;
        let role_config = PoolRoleConfig { pool, takeover_wait_ms: 0, ..role_config("a") };
        let mut owner =
            Self { role: PoolRole::new(role_config, pool_spec([endpoint_spec(0, 0)])), now_ms: 0 };
        owner.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 1, is_first: true }));
        owner.pass(500);
        assert_eq!(RoleStatus::Owner(1), owner.role.status());
        owner
    }

    fn handle(&mut self, input: RoleInput) -> Vec<RoleEffect> {
        self.role.handle(self.now_ms, input)
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now_ms += 50;
            self.handle(RoleInput::Tick);
        }
    }

    fn version(&self) -> Version {
        self.role.version().unwrap()
    }

    /// Makes changes.
    fn change(&mut self, changes: usize) {
        for number in (1..=2).cycle().take(changes) {
            self.handle(RoleInput::Spec(spec_with_models(models(number))));
        }
    }

    fn read(&self, cursor: Version, want: PollWant) -> Result<PollReply, BeyondHistory> {
        let history = self.role.history().expect("it publishes its history");
        history.poll(self.now_ms, FollowerPoll { follower: FOLLOWER, cursor, want })
    }

    fn snapshot(&mut self) -> std::sync::Arc<Snapshot> {
        let want = PollWant::Changes;
        let poll = FollowerPoll { follower: FOLLOWER, cursor: Version::default(), want };
        let PollReply::Snapshot(snapshot) = self.role.poll(self.now_ms, poll) else { panic!("a snapshot") };
        snapshot
    }

    fn covers(&self, version: Version) -> bool {
        self.role.pool().unwrap().journal().covers(version)
    }
}

#[test]
fn follower_that_is_behind_gets_heartbeats_for_what_it_was_sent() {
    let mut owner = Owner::start();
    let cursor = owner.version();
    let digest = owner.role.pool_state().digest();
    owner.change(1);
    let now_ms = owner.role.pool_now_ms(owner.now_ms);
    let heartbeat = Frame::Heartbeat { epoch: 1, seq: cursor.seq, now_ms, digest };
    assert_eq!(Ok(PollReply::Frame(heartbeat)), owner.read(cursor, PollWant::ChangesAndHeartbeat));
    let Ok(PollReply::Frame(Frame::Delta { from, to, .. })) = owner.read(cursor, PollWant::Changes) else {
        panic!("the changes")
    };
    assert_eq!((cursor.seq, owner.version().seq), (from, to));
}

#[test]
fn delta_says_who_owns() {
    let mut owner = Owner::start();
    let snapshot = owner.snapshot();
    let mut follower = Follower::new(JournaledReplica::new(LITTLE));
    let deliver = |follower: &mut Follower, source, frame| {
        follower.handle(1, source, FollowerEvent::Received(FromAggregator::Frame(frame)))
    };
    follower.handle(1, AGGREGATOR, FollowerEvent::Connected);
    snapshot.frames().for_each(|frame| drop(deliver(&mut follower, AGGREGATOR, frame)));
    // The stream ends, and the next one begins with changes: the owner is never idle.
    follower.handle(1, AGGREGATOR, FollowerEvent::Disconnected);
    let again = FrameSource::Aggregator(2);
    follower.handle(1, again, FollowerEvent::Connected);
    assert_eq!(None, follower.owner(1));
    let cursor = follower.replica().cursor().unwrap();
    owner.change(1);
    let Ok(PollReply::Frame(delta)) = owner.read(cursor, PollWant::Changes) else { panic!("a delta") };
    deliver(&mut follower, again, delta);
    assert_eq!(Some((again, 1)), follower.owner(1));
}

#[test]
fn history_after_a_snapshot_is_kept_until_it_is_installed() {
    let mut owner = Owner::start();
    let snapshot = owner.snapshot();
    let version = snapshot.version;
    owner.change(40);
    // Its stream has sent the snapshot, and polls for what comes next. The follower has not received everything yet.
    assert!(matches!(owner.read(version, PollWant::ChangesAndHeartbeat), Ok(PollReply::Frame(_))));
    owner.change(40);
    assert!(owner.covers(version), "the follower may continue from the snapshot");

    let mut follower = Follower::new(JournaledReplica::new(LITTLE));
    follower.handle(1, AGGREGATOR, FollowerEvent::Connected);
    let frames = snapshot.frames().map(|frame| FollowerEvent::Received(FromAggregator::Frame(frame)));
    let effects: Vec<_> = frames.flat_map(|event| follower.handle(1, AGGREGATOR, event)).collect();
    let installed = FromFollower::Installed(version);
    assert!(effects.contains(&FollowerEffect::Send(AGGREGATOR, installed.clone())), "{effects:?}");
    owner.handle(RoleInput::FollowerMessage(FOLLOWER, installed));
    assert!(!owner.covers(version));
}

#[test]
fn snapshot_that_is_never_installed_keeps_history_for_half_a_minute() {
    let mut owner = Owner::start();
    let version = owner.snapshot().version;
    owner.change(40);
    owner.pass(29_000);
    assert!(owner.covers(version));
    owner.pass(2_000);
    assert!(!owner.covers(version));
}

#[test]
fn snapshot_is_dropped_when_nobody_needs_it() {
    let mut owner = Owner::start();
    let snapshot = std::sync::Arc::downgrade(&owner.snapshot());
    assert!(snapshot.upgrade().is_some(), "another follower may need it");
    owner.handle(RoleInput::FollowerLeft(FOLLOWER));
    assert!(snapshot.upgrade().is_none());
}

#[test]
fn history_ends_when_the_owner_steps_down() {
    let mut owner = Owner::start();
    let history = owner.role.history().unwrap();
    let other = ObservedOwner::Other { name: "b".to_owned(), epoch: 2 };
    let effects = owner.handle(RoleInput::OwnerObserved(other));
    assert!(effects.contains(&RoleEffect::HistoryChanged) && owner.role.history().is_none());
    let poll = FollowerPoll { follower: FOLLOWER, cursor: Version::default(), want: PollWant::Heartbeat };
    assert_eq!(Err(BeyondHistory::Ended), history.poll(owner.now_ms, poll));
}
