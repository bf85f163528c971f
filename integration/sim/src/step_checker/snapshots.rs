//! Checks that followers get the snapshots that they need, right ones and not too many, and signs of life meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use signalbox_state::{ApplyOutcome, FrameSource, Snapshot, StateReplica};

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How many heartbeats in a row, ten a second, may find no place for the snapshot that a follower needs: those who hold
/// the places do so for half as long.
const MAX_POSTPONED: u32 = 200;

/// How many times in a row, ten a second, a heartbeat may be due on a stream that takes messages and nothing be sent.
const MAX_SILENT: u32 = 5;

/// How many snapshots one stream may get in a window although those before were in vain, and its length in microseconds.
const MAX_SNAPSHOTS: usize = 6;
const WINDOW_US: u64 = 10_000_000;

/// What aggregators have sent of snapshots.
#[derive(Debug, Default)]
pub(super) struct SentSnapshots {
    /// When each stream of an aggregator was sent the latest snapshots after one in vain, in microseconds.
    in_vain_us: BTreeMap<(ProcessId, u64), VecDeque<u64>>,
    /// The snapshot of each aggregator that was checked last.
    checked: BTreeMap<ProcessId, Arc<Snapshot>>,
}

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

    /// Checks how many times in a row a heartbeat was due on a stream and nothing was sent.
    pub(crate) fn check_silent(&mut self, silent: u32, process: ProcessId, stream: u64) {
        if silent > MAX_SILENT {
            self.fail(Invariant::HeartbeatsGoOn, || {
                format!("{process:?} owes stream {stream} {silent} heartbeats")
            });
        }
    }

    /// Checks that a snapshot that is sent gives a new follower the state that the owner had at its version.
    pub(crate) fn check_snapshot(&mut self, process: ProcessId, snapshot: &Arc<Snapshot>) {
        let before = self.snapshots.checked.insert(process, Arc::clone(snapshot));
        if before.is_some_and(|before| Arc::ptr_eq(&before, snapshot)) {
            return;
        }
        let (mut follower, source) = (StateReplica::default(), FrameSource::Aggregator(0));
        let frames = Arc::clone(snapshot).frames();
        let outcome = frames.map(|frame| follower.apply(source, frame)).last();
        let (digest, version) = (follower.pool_state().digest(), snapshot.version);
        let owned = self.states.get(&version).map(|(digest, _)| *digest);
        if outcome != Some(ApplyOutcome::Reset) || owned.is_some_and(|owned| owned != digest) {
            self.fail(Invariant::SnapshotsAreExact, || {
                format!("{process:?} sends a snapshot that is not its state at {version}: {outcome:?}")
            });
        }
    }

    /// Checks a snapshot that an aggregator sends to a follower for which the one before was in vain.
    pub(crate) fn check_repeated_snapshot(&mut self, process: ProcessId, stream: u64) {
        let sent_us = self.snapshots.in_vain_us.entry((process, stream)).or_default();
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
