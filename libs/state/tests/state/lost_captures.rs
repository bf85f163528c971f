//! A follower gets a snapshot although changes outgrow the history after each one before it is sent, or its capture takes
//! long.

use signalbox_state::{FromFollower, InputLimits, PollReply, PoolConfig, RoleInput};
use signalbox_types::Version;

use crate::fixtures::config;
use crate::fixtures::state_contents::rebuild;
use crate::snapshot_parts::Owner;

/// Less history than 200 changes weigh, in bytes.
const LITTLE: usize = 4_096;

/// Makes changes that outgrow the history after the snapshot at `version`.
fn lose_history(owner: &mut Owner, version: Version) {
    (0..200).for_each(|_| owner.place());
    assert!(!owner.covers(version), "200 changes weigh more than the history");
}

#[test]
fn follower_is_served_although_each_capture_loses_its_history() {
    let mut owner = Owner::with_history(LITTLE);
    for follower in 1..=3 {
        let version = owner.version();
        assert_eq!(PollReply::Later, owner.poll(follower), "the capture begins");
        lose_history(&mut owner, version);
        let version = owner.version();
        let PollReply::Snapshot(snapshot) = owner.poll(follower) else {
            panic!("it waits for another capture")
        };
        assert_eq!(version, snapshot.version);
        assert_eq!(snapshot.digest, rebuild(&snapshot).digest());
        assert!(owner.covers(version), "it continues from there");
        owner.handle(RoleInput::FollowerMessage(follower, FromFollower::Installed(version)));
    }
}

#[test]
fn follower_is_served_although_a_complete_snapshot_loses_its_history() {
    let mut owner = Owner::with_history(LITTLE);
    let version = owner.version();
    assert_eq!(PollReply::Later, owner.poll(1));
    (0..10).for_each(|_| drop(owner.tick()));
    assert!(!owner.role.pool().unwrap().is_capturing());
    lose_history(&mut owner, version);
    let version = owner.version();
    let PollReply::Snapshot(snapshot) = owner.poll(1) else { panic!("it waits for another capture") };
    assert_eq!((version, snapshot.digest), (snapshot.version, rebuild(&snapshot).digest()));
}

#[test]
fn capture_may_take_long_as_long_as_a_follower_asks() {
    let input_limits = InputLimits { snapshot_steps: 16, ..InputLimits::default() };
    let mut owner = Owner::with_config(PoolConfig { input_limits, ..config() });
    let is_later = |owner: &mut Owner| {
        owner.tick();
        owner.poll(1) == PollReply::Later
    };
    let polls = (0..1_000).take_while(|_| is_later(&mut owner)).count();
    assert!((601..1_000).contains(&polls), "{polls} polls, one every 50 ms: more than half a minute");
}
