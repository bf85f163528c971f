//! The rows of the frame table that a snapshot is made of; each cell is a test. The replica holds 5.20 unless it holds nothing.

use std::sync::Arc;

use signalbox_state::{ApplyOutcome, Change, Frame, Gap, PoolState, Snapshot, SnapshotEntry, StateReplica};
use signalbox_types::{Format, Origin, Version};

use crate::support::OWNER;

const MINE: Version = Version { epoch: 5, seq: 20 };

/// The frames of a snapshot with one entry.
pub(crate) fn snapshot(version: Version) -> [Frame; 3] {
    let mut pool_state = PoolState::default();
    let number = version.seq;
    pool_state.apply(1, &Change::Acknowledged { origin: Origin(1), number }).unwrap();
    let frames: Vec<_> = Arc::new(Snapshot::cut(&pool_state, version, Format::default())).frames().collect();
    frames.try_into().unwrap()
}

pub(crate) fn at(version: Version) -> StateReplica {
    let mut replica = StateReplica::default();
    snapshot(version).into_iter().for_each(|frame| drop(replica.apply(OWNER, frame)));
    assert_eq!(Some(version), replica.cursor());
    replica
}

/// What became of the first `count` frames of a snapshot at `epoch`.`seq`, and what the replica holds then.
fn take(mut replica: StateReplica, epoch: u64, seq: u64, count: usize) -> (ApplyOutcome, Option<Version>) {
    let frames = snapshot(Version { epoch, seq }).into_iter().take(count);
    let last = frames.map(|frame| replica.apply(OWNER, frame)).last();
    (last.unwrap(), replica.version())
}

fn entry() -> Frame {
    Frame::SnapshotEntry(Arc::new(SnapshotEntry::Origin(Origin(2), 2)))
}

fn done(of: Version, edit: impl FnOnce(&mut u64, &mut u64, &mut u64)) -> Frame {
    let [_, _, mut done] = snapshot(of);
    if let Frame::SnapshotEnd { version, count, digest } = &mut done {
        edit(&mut version.seq, count, &mut digest.loads);
    }
    done
}

#[test]
fn init_of_my_epoch_starts_a_fresh_buffer() {
    let mut replica = at(MINE);
    let later = Version { epoch: 5, seq: 30 };
    let [init, entry, done] = snapshot(later);
    replica.apply(OWNER, init.clone());
    replica.apply(OWNER, entry.clone());
    assert_eq!((ApplyOutcome::Applied, Some(MINE)), (replica.apply(OWNER, init), replica.version()));
    // Had the entry before it stayed, there would be two now.
    replica.apply(OWNER, entry);
    assert_eq!((ApplyOutcome::Reset, Some(later)), (replica.apply(OWNER, done), replica.version()));
}

#[test]
fn init_of_a_later_epoch_starts_a_fresh_buffer() {
    assert_eq!((ApplyOutcome::Applied, Some(MINE)), take(at(MINE), 6, 3, 1));
}

#[test]
fn init_of_an_earlier_epoch_is_stale_and_so_is_all_that_follows_it() {
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), take(at(MINE), 4, 90, 1));
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), take(at(MINE), 4, 90, 2));
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), take(at(MINE), 4, 90, 3));
}

#[test]
fn init_before_anything_starts_a_fresh_buffer() {
    assert_eq!((ApplyOutcome::Applied, None), take(StateReplica::default(), 5, 20, 1));
}

#[test]
fn entry_goes_into_the_streams_buffer() {
    assert_eq!((ApplyOutcome::Applied, Some(MINE)), take(at(MINE), 5, 30, 2));
    assert_eq!((ApplyOutcome::Applied, Some(MINE)), take(at(MINE), 6, 3, 2));
    assert_eq!((ApplyOutcome::Applied, None), take(StateReplica::default(), 5, 20, 2));
}

#[test]
fn entry_without_a_buffer_is_a_gap() {
    assert_eq!(ApplyOutcome::Gap(Gap::Order), at(MINE).apply(OWNER, entry()));
    assert_eq!(ApplyOutcome::Gap(Gap::Order), StateReplica::default().apply(OWNER, entry()));
}

#[test]
fn init_done_of_my_epoch_swaps_a_whole_buffer() {
    let later = Version { epoch: 5, seq: 30 };
    assert_eq!((ApplyOutcome::Reset, Some(later)), take(at(MINE), 5, 30, 3));
    assert_eq!((ApplyOutcome::Reset, Some(MINE)), take(at(MINE), 5, 20, 3));
}

#[test]
fn init_done_below_my_seq_is_stale() {
    assert_eq!((ApplyOutcome::Stale, Some(MINE)), take(at(MINE), 5, 19, 3));
}

#[test]
fn init_done_of_a_later_epoch_swaps_a_whole_buffer_and_adopts_the_epoch() {
    let later = Version { epoch: 6, seq: 3 };
    assert_eq!((ApplyOutcome::Reset, Some(later)), take(at(MINE), 6, 3, 3));
}

#[test]
fn init_done_before_anything_makes_the_replica_ready() {
    assert_eq!((ApplyOutcome::Reset, Some(MINE)), take(StateReplica::default(), 5, 20, 3));
}

#[test]
fn init_done_without_a_buffer_is_a_gap() {
    let [.., done] = snapshot(MINE);
    assert_eq!(ApplyOutcome::Gap(Gap::Order), at(MINE).apply(OWNER, done.clone()));
    assert_eq!(ApplyOutcome::Gap(Gap::Order), StateReplica::default().apply(OWNER, done));
}

#[test]
fn init_done_of_a_buffer_that_is_not_whole_is_a_gap_in_every_column() {
    for (holds, epoch) in [(Some(MINE), 5), (Some(MINE), 6), (None, 5)] {
        let of = Version { epoch, seq: 30 };
        let broken = [
            done(of, |seq, _, _| *seq += 1),
            done(of, |_, count, _| *count += 1),
            done(of, |_, _, loads| *loads += 1),
        ];
        for done in broken {
            let mut replica = holds.map_or_else(StateReplica::default, at);
            let [init, entry, whole] = snapshot(of);
            replica.apply(OWNER, init);
            replica.apply(OWNER, entry);
            assert_eq!(
                (ApplyOutcome::Gap(Gap::Snapshot), holds),
                (replica.apply(OWNER, done), replica.cursor())
            );
            assert_eq!(ApplyOutcome::Gap(Gap::Order), replica.apply(OWNER, whole));
        }
    }
}

#[test]
fn init_done_of_an_epoch_that_was_left_meanwhile_is_stale_whole_or_not() {
    for count in [1, 2] {
        let mut replica = at(MINE);
        let [init, entry, _] = snapshot(Version { epoch: 5, seq: 30 });
        replica.apply(OWNER, init);
        replica.apply(OWNER, entry);
        assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, Frame::EpochChange { from: MINE, epoch: 6 }));
        let done = done(Version { epoch: 5, seq: 30 }, |_, counted, _| *counted = count);
        assert_eq!(ApplyOutcome::Stale, replica.apply(OWNER, done));
        assert_eq!(Some(Version { epoch: 6, seq: 20 }), replica.cursor());
    }
}
