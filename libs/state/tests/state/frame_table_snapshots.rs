//! The rows of the frame table for the frames of a snapshot, with one test per cell. The replica holds
//! version 5.20 unless stated otherwise.

use std::sync::Arc;

use signalbox_state::{ApplyOutcome, Change, Frame, Gap, PoolState, Snapshot, SnapshotEntry, StateReplica};
use signalbox_types::{Format, Origin, Version};

use crate::fixtures::OWNER;

const HELD: Version = Version { epoch: 5, seq: 20 };

/// Returns the frames of a snapshot with one entry.
pub(crate) fn snapshot(version: Version) -> [Frame; 3] {
    let mut pool_state = PoolState::default();
    let number = version.seq;
    pool_state.apply(1, &Change::Acknowledged { origin: Origin(1), number }).unwrap();
    let frames: Vec<_> =
        Arc::new(Snapshot::capture(&pool_state, version, Format::default())).frames().collect();
    frames.try_into().unwrap()
}

pub(crate) fn at(version: Version) -> StateReplica {
    let mut replica = StateReplica::default();
    snapshot(version).into_iter().for_each(|frame| drop(replica.apply(OWNER, frame)));
    assert_eq!(Some(version), replica.cursor());
    replica
}

/// Applies the first `count` frames of a snapshot at `epoch`.`seq`. Returns the last outcome and the version.
fn apply_first(
    mut replica: StateReplica,
    epoch: u64,
    seq: u64,
    count: usize,
) -> (ApplyOutcome, Option<Version>) {
    let frames = snapshot(Version { epoch, seq }).into_iter().take(count);
    let last = frames.map(|frame| replica.apply(OWNER, frame)).last();
    (last.unwrap(), replica.version())
}

fn entry() -> Frame {
    Frame::SnapshotEntry(Arc::new(SnapshotEntry::Origin(Origin(2), 2)))
}

fn end(of: Version, edit: impl FnOnce(&mut u64, &mut u64, &mut u64)) -> Frame {
    let [_, _, mut end] = snapshot(of);
    if let Frame::SnapshotEnd { version, count, digest } = &mut end {
        edit(&mut version.seq, count, &mut digest.loads);
    }
    end
}

#[test]
fn snapshot_begin_of_the_same_epoch_starts_a_new_buffer() {
    let mut replica = at(HELD);
    let later = Version { epoch: 5, seq: 30 };
    let [begin, entry, end] = snapshot(later);
    replica.apply(OWNER, begin.clone());
    replica.apply(OWNER, entry.clone());
    assert_eq!((ApplyOutcome::Applied, Some(HELD)), (replica.apply(OWNER, begin), replica.version()));
    // If the earlier entry had stayed in the buffer, the snapshot would have two entries now.
    replica.apply(OWNER, entry);
    assert_eq!((ApplyOutcome::Reset, Some(later)), (replica.apply(OWNER, end), replica.version()));
}

#[test]
fn snapshot_begin_of_a_later_epoch_starts_a_new_buffer() {
    assert_eq!((ApplyOutcome::Applied, Some(HELD)), apply_first(at(HELD), 6, 3, 1));
}

#[test]
fn snapshot_of_an_earlier_epoch_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_first(at(HELD), 4, 90, 1));
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_first(at(HELD), 4, 90, 2));
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_first(at(HELD), 4, 90, 3));
}

#[test]
fn snapshot_begin_without_state_starts_a_new_buffer() {
    assert_eq!((ApplyOutcome::Applied, None), apply_first(StateReplica::default(), 5, 20, 1));
}

#[test]
fn entry_is_added_to_the_buffer_of_its_stream() {
    assert_eq!((ApplyOutcome::Applied, Some(HELD)), apply_first(at(HELD), 5, 30, 2));
    assert_eq!((ApplyOutcome::Applied, Some(HELD)), apply_first(at(HELD), 6, 3, 2));
    assert_eq!((ApplyOutcome::Applied, None), apply_first(StateReplica::default(), 5, 20, 2));
}

#[test]
fn entry_without_a_buffer_is_a_gap() {
    assert_eq!(ApplyOutcome::Gap(Gap::Order), at(HELD).apply(OWNER, entry()));
    assert_eq!(ApplyOutcome::Gap(Gap::Order), StateReplica::default().apply(OWNER, entry()));
}

#[test]
fn snapshot_end_of_the_same_epoch_replaces_the_state() {
    let later = Version { epoch: 5, seq: 30 };
    assert_eq!((ApplyOutcome::Reset, Some(later)), apply_first(at(HELD), 5, 30, 3));
    assert_eq!((ApplyOutcome::Reset, Some(HELD)), apply_first(at(HELD), 5, 20, 3));
}

#[test]
fn snapshot_end_below_the_held_seq_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(HELD)), apply_first(at(HELD), 5, 19, 3));
}

#[test]
fn snapshot_end_of_a_later_epoch_replaces_the_state_and_the_epoch() {
    let later = Version { epoch: 6, seq: 3 };
    assert_eq!((ApplyOutcome::Reset, Some(later)), apply_first(at(HELD), 6, 3, 3));
}

#[test]
fn snapshot_end_without_state_makes_the_replica_ready() {
    assert_eq!((ApplyOutcome::Reset, Some(HELD)), apply_first(StateReplica::default(), 5, 20, 3));
}

#[test]
fn snapshot_end_without_a_buffer_is_a_gap() {
    let [.., end] = snapshot(HELD);
    assert_eq!(ApplyOutcome::Gap(Gap::Order), at(HELD).apply(OWNER, end.clone()));
    assert_eq!(ApplyOutcome::Gap(Gap::Order), StateReplica::default().apply(OWNER, end));
}

#[test]
fn snapshot_end_of_an_incomplete_buffer_is_a_gap_for_every_epoch() {
    for (holds, epoch) in [(Some(HELD), 5), (Some(HELD), 6), (None, 5)] {
        let of = Version { epoch, seq: 30 };
        let broken = [
            end(of, |seq, _, _| *seq += 1),
            end(of, |_, count, _| *count += 1),
            end(of, |_, _, loads| *loads += 1),
        ];
        for end in broken {
            let mut replica = holds.map_or_else(StateReplica::default, at);
            let [begin, entry, whole] = snapshot(of);
            replica.apply(OWNER, begin);
            replica.apply(OWNER, entry);
            assert_eq!(
                (ApplyOutcome::Gap(Gap::Snapshot), holds),
                (replica.apply(OWNER, end), replica.cursor())
            );
            assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, whole));
        }
    }
}

#[test]
fn snapshot_end_of_an_epoch_left_meanwhile_is_stale_even_if_incomplete() {
    for count in [1, 2] {
        let mut replica = at(HELD);
        let [begin, entry, _] = snapshot(Version { epoch: 5, seq: 30 });
        replica.apply(OWNER, begin);
        replica.apply(OWNER, entry);
        assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, Frame::EpochChange { from: HELD, epoch: 6 }));
        let end = end(Version { epoch: 5, seq: 30 }, |_, counted, _| *counted = count);
        assert_eq!(ApplyOutcome::Stale, replica.apply(OWNER, end));
        assert_eq!(Some(Version { epoch: 6, seq: 20 }), replica.cursor());
    }
}
