//! A follower whose state has diverged gets a snapshot that does not take it back.

use std::sync::Arc;

use signalbox_state::{
    Cursor, Digest, Follower, FollowerEffect, FollowerEvent, Frame, FromAggregator, FromFollower,
    JournalBounds, JournaledReplica, PollReply, RoleInput, Snapshot,
};
use signalbox_types::Version;

use crate::fixtures::{OWNER, config, pool_of};
use crate::snapshot_parts::Owner;

/// Reports that the state of `follower` diverged at `version`.
fn report_divergence(owner: &mut Owner, follower: u64, version: Version) {
    let cursor = Cursor { epoch: version.epoch, diverged_at: Some(version), ..Cursor::default() };
    owner.handle(RoleInput::FollowerMessage(follower, FromFollower::Cursor(cursor)));
}

/// Returns the snapshot that `follower` gets at once.
fn snapshot_for(owner: &mut Owner, follower: u64) -> Arc<Snapshot> {
    let PollReply::Snapshot(snapshot) = owner.poll(follower) else { panic!("there is a snapshot for it") };
    snapshot
}

#[test]
fn snapshot_older_than_the_divergence_is_not_used_again() {
    let mut owner = Owner::start();
    assert_eq!(PollReply::Later, owner.poll(1));
    let first = owner.complete(1);
    let diverged_at = owner.version();
    assert!(first.version < diverged_at);
    report_divergence(&mut owner, 2, diverged_at);
    assert_eq!(PollReply::Later, owner.poll(2), "another capture begins");
    let next = owner.complete(2);
    assert_eq!(diverged_at, next.version);
    assert!(owner.covers(first.version), "the first follower has not installed its snapshot yet");
    // It is good enough for any follower that diverged before, or holds nothing.
    report_divergence(&mut owner, 3, first.version);
    for follower in [3, 4] {
        assert!(Arc::ptr_eq(&next, &snapshot_for(&mut owner, follower)));
    }
}

#[test]
fn capture_for_others_is_completed_before_the_next_one_begins() {
    let mut owner = Owner::start();
    let version = owner.version();
    assert_eq!(PollReply::Later, owner.poll(1));
    owner.place();
    let diverged_at = owner.version();
    report_divergence(&mut owner, 2, diverged_at);
    assert_eq!(PollReply::Later, owner.poll(2));
    assert_eq!(version, owner.complete(1).version, "the diverged follower has not restarted the capture");
    assert_eq!(PollReply::Later, owner.poll(2));
    assert!(owner.complete(2).version >= diverged_at);
}

#[test]
fn divergence_that_cannot_have_been_is_ignored() {
    let mut owner = Owner::start();
    assert_eq!(PollReply::Later, owner.poll(1));
    let snapshot = owner.complete(1);
    let Version { epoch, seq } = owner.version();
    report_divergence(&mut owner, 2, Version { epoch, seq: seq + 1 });
    assert!(Arc::ptr_eq(&snapshot, &snapshot_for(&mut owner, 2)), "the owner has not made this version");
}

#[test]
fn follower_says_where_it_diverged_until_it_has_a_snapshot() {
    let pool = pool_of(1, config());
    let (head, snapshot) = (pool.journal().head(), Arc::new(pool.snapshot()));
    let mut follower = Follower::new(JournaledReplica::new(JournalBounds::default()));
    let receive = |follower: &mut Follower, frame| {
        follower.handle(1, OWNER, FollowerEvent::Received(FromAggregator::Frame(frame)))
    };
    let reported = |effects: Vec<FollowerEffect>| {
        let cursor = effects.into_iter().find_map(|effect| match effect {
            FollowerEffect::Send(OWNER, FromFollower::Cursor(cursor)) => Some(cursor),
            _ => None,
        });
        cursor.map(|cursor| (cursor.version, cursor.diverged_at))
    };
    let connect = |follower: &mut Follower| follower.handle(1, OWNER, FollowerEvent::Connected);

    assert_eq!(Some((None, None)), reported(connect(&mut follower)), "it holds nothing");
    Arc::clone(&snapshot).frames().for_each(|frame| drop(receive(&mut follower, frame)));
    assert_eq!(Some((Some(head), None)), reported(connect(&mut follower)));
    let Version { epoch, seq } = head;
    receive(&mut follower, Frame::Heartbeat { epoch, seq, now_ms: 0, digest: Digest::default() });
    assert_eq!(Some((None, Some(head))), reported(connect(&mut follower)), "on every stream");
    snapshot.frames().for_each(|frame| drop(receive(&mut follower, frame)));
    assert_eq!(Some((Some(head), None)), reported(connect(&mut follower)));
}
