//! The rows of the frame table for `Delta`, `EpochChange` and `Heartbeat`, with one test per cell. The
//! replica holds version 5.20 unless stated otherwise.

use signalbox_state::{ApplyOutcome, Change, Changes, Digest, Frame, Gap, StateReplica};
use signalbox_types::{Origin, Version};

use crate::fixtures::OWNER;
use crate::frame_table_snapshots::at;

const HELD: Version = Version { epoch: 5, seq: 20 };
const GAP: ApplyOutcome = ApplyOutcome::Gap(Gap::Order);

fn delta(epoch: u64, from: u64, to: u64) -> Frame {
    let change = |number| Change::Acknowledged { origin: Origin(1), number };
    Frame::Delta { epoch, from, to, changes: (from + 1..=to).map(change).collect() }
}

fn epoch_change(epoch: u64, base: u64) -> Frame {
    Frame::EpochChange { from: Version { epoch: 5, seq: base }, epoch }
}

/// Returns a heartbeat with the digest of `replica`.
fn heartbeat(replica: &StateReplica, epoch: u64, seq: u64) -> Frame {
    Frame::Heartbeat { epoch, seq, now_ms: 1, digest: replica.pool_state().digest() }
}

/// Applies `frame` at version 5.20. Returns the outcome and the cursor.
fn apply_at_held(frame: Frame) -> (ApplyOutcome, Option<Version>) {
    let mut replica = at(HELD);
    (replica.apply(OWNER, frame), replica.cursor())
}

fn apply_without_state(frame: Frame) -> (ApplyOutcome, Option<Version>) {
    let mut replica = StateReplica::default();
    (replica.apply(OWNER, frame), replica.cursor())
}

#[test]
fn delta_of_the_same_epoch_from_the_held_seq_is_applied() {
    let mut replica = at(HELD);
    assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, delta(5, 20, 23)));
    assert_eq!(Some(Version { epoch: 5, seq: 23 }), replica.cursor());
    assert_eq!(23, replica.pool_state().acknowledged(Origin(1)));
}

#[test]
fn delta_of_the_same_epoch_up_to_the_held_seq_is_stale() {
    for (from, to) in [(18, 20), (0, 3), (20, 20)] {
        assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_at_held(delta(5, from, to)));
    }
}

#[test]
fn delta_of_the_same_epoch_from_another_seq_is_a_gap() {
    for (from, to) in [(21, 22), (19, 21), (u64::MAX - 1, u64::MAX)] {
        assert_eq!((GAP, Some(HELD)), apply_at_held(delta(5, from, to)));
    }
}

#[test]
fn delta_with_the_wrong_number_of_changes_is_a_gap() {
    let Frame::Delta { changes, .. } = delta(5, 20, 22) else { panic!("a delta") };
    for (from, to) in [(20, 21), (20, 23), (20, u64::MAX), (30, 25)] {
        let mismatched = Frame::Delta { epoch: 5, from, to, changes: changes.clone() };
        assert_eq!((GAP, Some(HELD)), apply_at_held(mismatched));
    }
}

#[test]
fn delta_that_does_not_match_the_state_makes_it_diverged() {
    let endpoint = signalbox_types::EndpointKey(7);
    let changes = Changes::from(vec![Change::EndpointRemoved { endpoint }]);
    let mut replica = at(HELD);
    let outcome = replica.apply(OWNER, Frame::Delta { epoch: 5, from: 20, to: 21, changes });
    assert_eq!(ApplyOutcome::Gap(Gap::Change(signalbox_state::Diverged::UnknownEndpoint(endpoint))), outcome);
    assert_eq!(None, replica.cursor());
}

#[test]
fn delta_of_a_later_epoch_is_a_gap() {
    assert_eq!((GAP, Some(HELD)), apply_at_held(delta(6, 20, 21)));
}

#[test]
fn delta_of_an_earlier_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_at_held(delta(4, 20, 21)));
}

#[test]
fn delta_without_state_is_a_gap() {
    assert_eq!((GAP, None), apply_without_state(delta(5, 0, 1)));
}

#[test]
fn epoch_change_to_the_same_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_at_held(epoch_change(5, 20)));
}

#[test]
fn epoch_change_at_the_held_version_is_applied_and_keeps_the_state() {
    let mut replica = at(HELD);
    let before = replica.pool_state().digest();
    assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, epoch_change(7, 20)));
    assert_eq!(Some(Version { epoch: 7, seq: 20 }), replica.cursor());
    assert_eq!(before, replica.pool_state().digest());
    assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, delta(7, 20, 21)));
}

#[test]
fn epoch_change_at_another_seq_is_a_gap() {
    assert_eq!((GAP, Some(HELD)), apply_at_held(epoch_change(6, 19)));
    assert_eq!((GAP, Some(HELD)), apply_at_held(epoch_change(6, 21)));
}

#[test]
fn epoch_change_to_an_earlier_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_at_held(epoch_change(4, 20)));
}

#[test]
fn epoch_change_without_state_is_a_gap() {
    assert_eq!((GAP, None), apply_without_state(epoch_change(5, 0)));
}

#[test]
fn heartbeat_at_the_held_version_confirms_it() {
    let mut replica = at(HELD);
    let heartbeat = heartbeat(&replica, 5, 20);
    assert_eq!((ApplyOutcome::Applied, Some(HELD)), (replica.apply(OWNER, heartbeat), replica.cursor()));
}

#[test]
fn heartbeat_with_another_digest_is_a_gap_that_names_the_kinds() {
    let mut replica = at(HELD);
    let Digest { specs, observed, .. } = replica.pool_state().digest();
    let digest = Digest { specs: specs + 1, observed: observed + 1, ..replica.pool_state().digest() };
    let outcome = replica.apply(OWNER, Frame::Heartbeat { epoch: 5, seq: 20, now_ms: 1, digest });
    assert_eq!(ApplyOutcome::Gap(Gap::Digest(vec!["specs", "observed"])), outcome);
    assert_eq!((None, Some(HELD)), (replica.cursor(), replica.version()));
}

#[test]
fn heartbeat_ahead_is_a_gap() {
    let heartbeat = heartbeat(&at(HELD), 5, 21);
    assert_eq!((GAP, Some(HELD)), apply_at_held(heartbeat));
}

#[test]
fn heartbeat_behind_is_stale_regardless_of_its_digest() {
    let heartbeat =
        Frame::Heartbeat { epoch: 5, seq: 19, now_ms: 1, digest: Digest { specs: 1, ..Digest::default() } };
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_at_held(heartbeat));
}

#[test]
fn heartbeat_of_a_later_epoch_is_a_gap() {
    let heartbeat = heartbeat(&at(HELD), 6, 20);
    assert_eq!((GAP, Some(HELD)), apply_at_held(heartbeat));
}

#[test]
fn heartbeat_of_an_earlier_epoch_is_stale() {
    let heartbeat = heartbeat(&at(HELD), 4, 99);
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_at_held(heartbeat));
}

#[test]
fn heartbeat_without_state_is_a_gap() {
    let heartbeat = heartbeat(&StateReplica::default(), 5, 20);
    assert_eq!((GAP, None), apply_without_state(heartbeat));
}

#[test]
fn epoch_change_from_another_epoch_is_a_gap() {
    let change = Frame::EpochChange { from: Version { epoch: 6, seq: 20 }, epoch: 7 };
    assert_eq!((GAP, Some(HELD)), apply_at_held(change));
}
