//! Checks that followers get the snapshots that they need, and not too many.

use std::collections::{BTreeMap, VecDeque};

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How many heartbeats in a row, ten a second, may find no place for the snapshot that a follower needs: those who hold
/// the places do so for half as long.
const MAX_POSTPONED: u32 = 200;

/// How many snapshots one stream may get in a window although those before were in vain, and its length in microseconds.
const MAX_SNAPSHOTS: usize = 6;
const WINDOW_US: u64 = 10_000_000;

/// When each stream of an aggregator was sent the latest snapshots after one in vain, in microseconds.
pub(super) type SnapshotTimes = BTreeMap<(ProcessId, u64), VecDeque<u64>>;

impl StepChecker {
    /// Checks how many heartbeats in a row found no place for the snapshot of a follower.
    pub(crate) fn check_postponed(&mut self, postponed: u32, process: ProcessId, stream: u64) {
        if postponed > MAX_POSTPONED {
            self.fail(Invariant::SnapshotsAreServed, || {
                format!(
                    "{process:?} has no place for a snapshot on stream {stream} for {postponed} heartbeats"
                )
            });
        }
    }

    /// Checks a snapshot that an aggregator sends to a follower for which the one before was in vain.
    pub(crate) fn check_repeated_snapshot(&mut self, process: ProcessId, stream: u64) {
        let sent_us = self.snapshots.entry((process, stream)).or_default();
        sent_us.push_back(self.now_us);
        while sent_us.front().is_some_and(|at_us| at_us + WINDOW_US < self.now_us) {
            sent_us.pop_front();
        }
        let count = sent_us.len();
        if count > MAX_SNAPSHOTS {
            self.fail(Invariant::SnapshotsAreSpaced, || {
                format!("{process:?} sends {count} snapshots in vain on stream {stream} within ten seconds")
            });
        }
    }
}
