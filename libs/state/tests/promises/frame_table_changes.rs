//! The rows of the frame table for `Delta`, `Turn` and `Beat`; each cell is a test. The replica holds 5.20 unless it holds nothing.

use std::sync::Arc;

use signalbox_state::{ApplyOutcome, Change, Digest, Frame, Gap, StateReplica};
use signalbox_types::{Origin, Version};

use crate::frame_table_snapshots::at;
use crate::support::OWNER;

const MINE: Version = Version { epoch: 5, seq: 20 };
const GAP: ApplyOutcome = ApplyOutcome::Gap(Gap::Order);

fn delta(epoch: u64, from: u64, to: u64) -> Frame {
    let change = |number| Arc::new(Change::Acknowledged { origin: Origin(1), number });
    Frame::Delta { epoch, from, to, changes: (from + 1..=to).map(change).collect() }
}

fn turn(epoch: u64, base: u64) -> Frame {
    Frame::EpochChange { from: Version { epoch: 5, seq: base }, epoch }
}

/// A beat with the sums of `replica`.
fn beat(replica: &StateReplica, epoch: u64, seq: u64) -> Frame {
    Frame::Heartbeat { epoch, seq, now_ms: 1, digest: replica.pool_state().digest() }
}

/// What becomes of `frame` at 5.20, and what is held then.
fn at_mine(frame: Frame) -> (ApplyOutcome, Option<Version>) {
    let mut replica = at(MINE);
    (replica.apply(OWNER, frame), replica.cursor())
}

fn at_nothing(frame: Frame) -> (ApplyOutcome, Option<Version>) {
    let mut replica = StateReplica::default();
    (replica.apply(OWNER, frame), replica.cursor())
}

#[test]
fn delta_of_my_epoch_from_my_seq_is_applied() {
    let mut replica = at(MINE);
    assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, delta(5, 20, 23)));
    assert_eq!(Some(Version { epoch: 5, seq: 23 }), replica.cursor());
    assert_eq!(23, replica.pool_state().acknowledged(Origin(1)));
}

#[test]
fn delta_of_my_epoch_that_ends_at_or_below_my_seq_is_stale() {
    for (from, to) in [(18, 20), (0, 3), (20, 20)] {
        assert_eq!((ApplyOutcome::Stale, Some(MINE)), at_mine(delta(5, from, to)));
    }
}

#[test]
fn delta_of_my_epoch_from_elsewhere_is_a_gap() {
    for (from, to) in [(21, 22), (19, 21), (u64::MAX - 1, u64::MAX)] {
        assert_eq!((GAP, Some(MINE)), at_mine(delta(5, from, to)));
    }
}

#[test]
fn delta_that_does_not_hold_what_it_says_is_a_gap() {
    let Frame::Delta { changes, .. } = delta(5, 20, 22) else { panic!("a delta") };
    for (from, to) in [(20, 21), (20, 23), (20, u64::MAX), (30, 25)] {
        let lying = Frame::Delta { epoch: 5, from, to, changes: changes.clone() };
        assert_eq!((GAP, Some(MINE)), at_mine(lying));
    }
}

#[test]
fn delta_that_does_not_fit_is_a_gap_that_only_a_snapshot_fills() {
    let endpoint = signalbox_types::EndpointKey(7);
    let changes = vec![Arc::new(Change::EndpointRemoved { endpoint })];
    let mut replica = at(MINE);
    let outcome = replica.apply(OWNER, Frame::Delta { epoch: 5, from: 20, to: 21, changes });
    assert_eq!(
        ApplyOutcome::Gap(Gap::Change(signalbox_state::Diverged::EndpointObserver(endpoint))),
        outcome
    );
    assert_eq!(None, replica.cursor());
}

#[test]
fn delta_of_a_later_epoch_is_a_gap() {
    assert_eq!((GAP, Some(MINE)), at_mine(delta(6, 20, 21)));
}

#[test]
fn delta_of_an_earlier_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), at_mine(delta(4, 20, 21)));
}

#[test]
fn delta_before_anything_is_a_gap() {
    assert_eq!((GAP, None), at_nothing(delta(5, 0, 1)));
}

#[test]
fn turn_of_my_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), at_mine(turn(5, 20)));
}

#[test]
fn turn_of_a_later_epoch_at_my_seq_is_adopted_and_keeps_the_state() {
    let mut replica = at(MINE);
    let before = replica.pool_state().digest();
    assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, turn(7, 20)));
    assert_eq!(Some(Version { epoch: 7, seq: 20 }), replica.cursor());
    assert_eq!(before, replica.pool_state().digest());
    assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, delta(7, 20, 21)));
}

#[test]
fn turn_of_a_later_epoch_elsewhere_is_a_gap() {
    assert_eq!((GAP, Some(MINE)), at_mine(turn(6, 19)));
    assert_eq!((GAP, Some(MINE)), at_mine(turn(6, 21)));
}

#[test]
fn turn_of_an_earlier_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), at_mine(turn(4, 20)));
}

#[test]
fn turn_before_anything_is_a_gap() {
    assert_eq!((GAP, None), at_nothing(turn(5, 0)));
}

#[test]
fn beat_of_my_version_confirms_it() {
    let mut replica = at(MINE);
    let beat = beat(&replica, 5, 20);
    assert_eq!((ApplyOutcome::Applied, Some(MINE)), (replica.apply(OWNER, beat), replica.cursor()));
}

#[test]
fn beat_of_my_version_with_other_sums_is_a_gap_that_names_them() {
    let mut replica = at(MINE);
    let Digest { specs, observed, .. } = replica.pool_state().digest();
    let digest = Digest { specs: specs + 1, observed: observed + 1, ..replica.pool_state().digest() };
    let outcome = replica.apply(OWNER, Frame::Heartbeat { epoch: 5, seq: 20, now_ms: 1, digest });
    assert_eq!(ApplyOutcome::Gap(Gap::Digest(vec!["specs", "observed"])), outcome);
    assert_eq!((None, Some(MINE)), (replica.cursor(), replica.version()));
}

#[test]
fn beat_ahead_of_me_is_a_gap() {
    let beat = beat(&at(MINE), 5, 21);
    assert_eq!((GAP, Some(MINE)), at_mine(beat));
}

#[test]
fn beat_behind_me_is_stale_whatever_its_sums() {
    let beat =
        Frame::Heartbeat { epoch: 5, seq: 19, now_ms: 1, digest: Digest { specs: 1, ..Digest::default() } };
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), at_mine(beat));
}

#[test]
fn beat_of_a_later_epoch_is_a_gap() {
    let beat = beat(&at(MINE), 6, 20);
    assert_eq!((GAP, Some(MINE)), at_mine(beat));
}

#[test]
fn beat_of_an_earlier_epoch_is_stale() {
    let beat = beat(&at(MINE), 4, 99);
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), at_mine(beat));
}

#[test]
fn beat_before_anything_is_a_gap() {
    let beat = beat(&StateReplica::default(), 5, 20);
    assert_eq!((GAP, None), at_nothing(beat));
}

#[test]
fn turn_of_a_later_epoch_from_another_epoch_than_mine_is_a_gap() {
    let turn = Frame::EpochChange { from: Version { epoch: 6, seq: 20 }, epoch: 7 };
    assert_eq!((GAP, Some(MINE)), at_mine(turn));
}
