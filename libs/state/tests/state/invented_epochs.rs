//! Epochs that a peer invents: they change nothing, whatever the stream on which they arrive.

use std::sync::Arc;

use signalbox_state::{
    Change, Changes, ClaimResult, Cursor, Feedback, Follower, FollowerEffect, FollowerEvent, FollowerPoll,
    Frame, FromAggregator, FromFollower, GaugeScope, HeardOwner, JournalBounds, JournaledReplica,
    ObservedOwner, PollReply, PollWant, PoolInput, PoolRole, PoolRoleConfig, RoleEffect, RoleInput,
    RoleStatus,
};
use signalbox_types::{Format, Origin, Version};

use crate::fixtures::{OWNER, config, endpoint_spec, heartbeat, pool_of, pool_spec, role_config};

const INVENTED: [u64; 4] = [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 50];

/// The stream to another aggregator.
const PEER: u64 = 1;

/// Returns the owner of epoch 1.
fn owner() -> PoolRole {
    let config = PoolRoleConfig { takeover_wait_ms: 0, ..role_config("a") };
    let mut role = PoolRole::new(config, pool_spec([endpoint_spec(0, 0)]));
    role.handle(0, RoleInput::OwnerObserved(ObservedOwner::Nobody));
    role.handle(0, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 1, is_first: true }));
    role.handle(0, RoleInput::OwnerObserved(ObservedOwner::Own(1)));
    role.handle(0, RoleInput::PeerEvent(PEER, FollowerEvent::Connected));
    assert_eq!(RoleStatus::Owner(1), role.status());
    role
}

fn frames(epoch: u64) -> Vec<FromAggregator> {
    let (version, digest) = (Version { epoch, seq: u64::MAX }, pool_of(0, config()).pool_state().digest());
    let frames = [
        Frame::SnapshotBegin { version, format: Format::default() },
        Frame::SnapshotEnd { version, count: 0, digest },
        Frame::Delta { epoch, from: 0, to: u64::MAX, changes: Changes::default() },
        Frame::EpochChange { from: Version { epoch: 1, seq: 1 }, epoch },
        Frame::EpochChange { from: version, epoch: 2 },
        Frame::Heartbeat { epoch, seq: u64::MAX, now_ms: u64::MAX, digest },
    ];
    let others = [FromAggregator::NotOwner { epoch }, FromAggregator::FetchRequest { after: Some(version) }];
    frames.map(FromAggregator::Frame).into_iter().chain(others).collect()
}

fn cursors(epoch: u64) -> [Cursor; 4] {
    let version = Some(Version { epoch, seq: u64::MAX });
    [
        Cursor { version, epoch, heard: HeardOwner::Nobody, ..Cursor::default() },
        Cursor { version: None, epoch, heard: HeardOwner::Nobody, ..Cursor::default() },
        Cursor { version: None, epoch: 1, heard: HeardOwner::Epoch(epoch), ..Cursor::default() },
        Cursor { epoch: 1, heard: HeardOwner::Nobody, diverged_at: version, ..Cursor::default() },
    ]
}

fn feedback(epoch: u64) -> Feedback {
    Feedback { epoch, ..Feedback::new(Origin(9), 1, GaugeScope::All) }
}

/// Returns messages with `epoch` on every stream of an aggregator.
fn inputs(epoch: u64) -> Vec<RoleInput> {
    let frames =
        frames(epoch).into_iter().map(|message| RoleInput::PeerEvent(PEER, FollowerEvent::Received(message)));
    let cursors = cursors(epoch).map(|cursor| RoleInput::FollowerMessage(7, FromFollower::Cursor(cursor)));
    let others = [RoleInput::EpochHeard(epoch), RoleInput::Pool(PoolInput::Feedback(feedback(epoch)))];
    frames.chain(cursors).chain(others).collect()
}

#[test]
fn owner_ignores_invented_epochs_on_every_stream_and_says_so() {
    for epoch in INVENTED {
        let mut role = owner();
        for (at, input) in inputs(epoch).into_iter().enumerate() {
            let text = format!("{input:?}");
            let effects = role.handle(1_000 * at as u64, input);
            assert!(effects.contains(&RoleEffect::EpochRefused(epoch)), "{text}: {effects:?}");
            let effects = role.handle(1_000 * at as u64 + 600, RoleInput::Tick);
            let claims = effects.iter().filter(|effect| matches!(effect, RoleEffect::Claim { .. }));
            assert_eq!(0, claims.count(), "{text}");
            assert_eq!((RoleStatus::Owner(1), 1), (role.status(), role.epoch()), "{text}");
        }
    }
}

#[test]
fn epoch_that_is_heard_on_any_stream_raises_the_floor_of_the_next_claim() {
    for input in inputs(40) {
        // A frame says that the peer owns the pool, so this owner steps down instead.
        if matches!(input, RoleInput::PeerEvent(_, FollowerEvent::Received(FromAggregator::Frame(_)))) {
            continue;
        }
        let mut role = owner();
        let text = format!("{input:?}");
        let first = role.handle(1_000, input);
        let effects = [first, role.handle(1_050, RoleInput::Tick)].concat();
        assert!(effects.contains(&RoleEffect::Claim { above: 40, replacing: None }), "{text}: {effects:?}");
        role.handle(1_100, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 41, is_first: false }));
        assert_eq!(RoleStatus::Owner(41), role.status(), "{text}");
    }
}

#[test]
fn new_owner_takes_over_although_followers_offer_invented_versions() {
    for epoch in INVENTED {
        let mut role = owner();
        role.handle(10, RoleInput::OwnerObserved(ObservedOwner::Other { name: "b".to_owned(), epoch: 2 }));
        assert_eq!(RoleStatus::Standby, role.status());
        role.handle(2_000, RoleInput::OwnerObserved(ObservedOwner::Nobody));
        role.handle(2_000, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 3, is_first: false }));
        for now_ms in (2_000..2_400).step_by(50) {
            for cursor in cursors(epoch) {
                role.handle(now_ms, RoleInput::FollowerMessage(7, FromFollower::Cursor(cursor)));
            }
            let version = Version { epoch, seq: u64::MAX };
            let frame = Frame::SnapshotBegin { version, format: Format::default() };
            role.handle(now_ms, RoleInput::FollowerMessage(7, FromFollower::FetchReply(frame)));
            role.handle(now_ms, RoleInput::Tick);
        }
        assert_eq!((RoleStatus::Owner(3), 3), (role.status(), role.epoch()), "{epoch}");
    }
}

#[test]
fn history_whose_version_is_too_high_is_not_continued() {
    let mut role = owner();
    role.handle(10, RoleInput::OwnerObserved(ObservedOwner::Other { name: "b".to_owned(), epoch: 2 }));
    let highest = Version { epoch: 2, seq: 1 << 62 };
    let digest = pool_of(0, config()).pool_state().digest();
    let change = Change::Acknowledged { origin: Origin(1), number: 1 };
    let changes = [change].into_iter().collect();
    let frames = [
        Frame::SnapshotBegin { version: highest, format: config().format },
        Frame::SnapshotEnd { version: highest, count: 0, digest },
        Frame::Delta { epoch: 2, from: highest.seq, to: highest.seq + 1, changes },
    ];
    for frame in frames {
        role.handle(20, RoleInput::PeerEvent(PEER, FollowerEvent::Received(FromAggregator::Frame(frame))));
    }
    let invented = Version { seq: highest.seq + 1, ..highest };
    assert_eq!(Some(invented), role.version());
    role.handle(2_000, RoleInput::PeerEvent(PEER, FollowerEvent::Disconnected));
    role.handle(2_000, RoleInput::OwnerObserved(ObservedOwner::Nobody));
    let won = ClaimResult::Won { epoch: 3, is_first: false };
    let effects = role.handle(2_500, RoleInput::ClaimAnswered(won));
    assert_eq!(RoleStatus::Owner(3), role.status());
    assert!(effects.contains(&RoleEffect::HistoryRefused(invented)), "{effects:?}");
    assert!(role.version().unwrap().seq < 100);
}

#[test]
fn extreme_numbers_of_changes_and_times_from_a_follower_do_not_stop_a_new_owner() {
    let mut role = owner();
    role.handle(10, RoleInput::OwnerObserved(ObservedOwner::Other { name: "b".to_owned(), epoch: 2 }));
    let offered = Version { epoch: 2, seq: u64::MAX };
    let cursor = Cursor { version: Some(offered), epoch: 3, heard: HeardOwner::Nobody, ..Cursor::default() };
    role.handle(2_000, RoleInput::OwnerObserved(ObservedOwner::Nobody));
    role.handle(2_000, RoleInput::FollowerMessage(7, FromFollower::Cursor(cursor)));
    role.handle(2_000, RoleInput::ClaimAnswered(ClaimResult::Won { epoch: 3, is_first: false }));
    role.handle(2_050, RoleInput::FollowerMessage(7, FromFollower::Cursor(cursor)));
    let digest = pool_of(0, config()).pool_state().digest();
    let held = role.version().unwrap();
    let frames = [
        Frame::SnapshotBegin { version: offered, format: config().format },
        Frame::SnapshotEnd { version: offered, count: 0, digest },
        Frame::Heartbeat {
            epoch: held.epoch,
            seq: held.seq,
            now_ms: u64::MAX,
            digest: role.pool_state().digest(),
        },
    ];
    for frame in frames {
        role.handle(2_100, RoleInput::FollowerMessage(7, FromFollower::FetchReply(frame)));
    }
    for now_ms in (2_150..12_000).step_by(50) {
        role.handle(now_ms, RoleInput::Tick);
    }
    assert_eq!(RoleStatus::Owner(3), role.status());
    role.handle(12_000, RoleInput::Spec(pool_spec([endpoint_spec(0, 0), endpoint_spec(1, 0)])));
    assert!(role.version().unwrap().seq > held.seq);
}

#[test]
fn follower_ignores_owners_with_invented_epochs() {
    let pool = pool_of(1, config());
    for epoch in INVENTED {
        let mut follower = Follower::new(JournaledReplica::new(JournalBounds::default()));
        follower.handle(0, OWNER, FollowerEvent::Connected);
        for message in frames(epoch) {
            let effects = follower.handle(1, OWNER, FollowerEvent::Received(message));
            assert_eq!(vec![FollowerEffect::EpochRefused(epoch)], effects);
        }
        assert_eq!((frames(epoch).len() as u64, 0), (follower.refused_epochs(), follower.epoch()));
        assert_eq!(None, follower.owner(1));
        for frame in Arc::new(pool.snapshot()).frames().chain([heartbeat(&pool)]) {
            follower.handle(2, OWNER, FollowerEvent::Received(FromAggregator::Frame(frame)));
        }
        assert_eq!(Some((OWNER, 1)), follower.owner(2));
        assert_eq!(Some(pool.journal().head()), follower.replica().cursor());
    }
}

#[test]
fn poll_with_an_invented_cursor_changes_nothing() {
    for epoch in INVENTED {
        let mut role = owner();
        let cursor = Version { epoch, seq: 0 };
        let want = PollWant::ChangesAndHeartbeat;
        let reply = role.poll(10, FollowerPoll { follower: 7, cursor, want });
        let PollReply::Current(Some(FromAggregator::Frame(Frame::Heartbeat { epoch: 1, .. }))) = reply else {
            panic!("{reply:?} does not make the follower send its cursor")
        };
        role.handle(1_000, RoleInput::Tick);
        assert_eq!((RoleStatus::Owner(1), 1), (role.status(), role.epoch()));
    }
}
