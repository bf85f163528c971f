//! Captures snapshots for followers in parts. All followers that need one at the same time get the same.

use std::sync::Arc;

use signalbox_types::Version;

use super::Pool;
use crate::replication::{Snapshot, SnapshotCapture, SnapshotEntry};

/// The latest snapshot.
#[derive(Debug, Default)]
pub(super) enum LatestSnapshot {
    #[default]
    None,
    Capturing(SnapshotCapture),
    Complete(Arc<Snapshot>),
}

impl LatestSnapshot {
    fn version(&self) -> Option<Version> {
        match self {
            Self::None => None,
            Self::Capturing(capture) => Some(capture.version()),
            Self::Complete(snapshot) => Some(snapshot.version),
        }
    }
}

impl Pool {
    /// Returns a snapshot from which a follower can continue whose state diverged at `diverged_at`; `None` if its state has not
    /// diverged. The latest snapshot may be older than that: others still continue from it, but it would take this follower
    /// back, to a state without what the follower has acted on since. The history after it is kept until it is sent, or for half a
    /// minute after a follower has last asked. Returns `None` while it is being captured: ask again.
    /// [`super::PoolInput::Continue`] captures more.
    ///
    /// The history after a snapshot can grow beyond its bounds before the snapshot is sent. The next one is then captured at
    /// once: captured in parts, it could be lost as well, again and again.
    pub fn request_snapshot(&mut self, now_ms: u64, diverged_at: Option<Version>) -> Option<Arc<Snapshot>> {
        let mut max_steps = self.config.input_limits.snapshot_steps;
        // Nobody holds what this owner has not made yet.
        let at_least = diverged_at.filter(|version| *version <= self.journal.head());
        // Others wait for what is being captured, so that it is completed in any case.
        if self.has_usable_snapshot() && (self.is_capturing() || self.snapshot.version() >= at_least) {
            self.journal.renew_unsent(now_ms);
        } else {
            if self.has_lost_unsent_snapshot() {
                max_steps = usize::MAX;
            }
            self.discard_snapshot();
            let head = self.journal.head();
            self.journal.pin_unsent(now_ms, head.seq);
            let capture = SnapshotCapture::begin(&mut self.pool_state, head, self.config.format);
            self.snapshot = LatestSnapshot::Capturing(capture);
        }
        self.capture_next(max_steps);
        match &self.snapshot {
            LatestSnapshot::Complete(snapshot) if Some(snapshot.version) >= at_least => {
                Some(Arc::clone(snapshot))
            }
            LatestSnapshot::None | LatestSnapshot::Capturing(_) | LatestSnapshot::Complete(_) => None,
        }
    }

    /// Records that the latest snapshot is being sent to `follower`, for which the history after it is kept.
    pub(crate) fn mark_sent(&mut self, now_ms: u64, follower: u64, seq: u64) {
        self.journal.pin(now_ms, follower, seq);
        self.journal.unpin_unsent(now_ms);
    }

    /// Returns whether a follower can continue from the latest snapshot, or will when it is complete.
    fn has_usable_snapshot(&self) -> bool {
        let epoch = self.journal.head().epoch;
        self.snapshot.version().is_some_and(|version| version.epoch == epoch && self.journal.covers(version))
    }

    /// Returns whether the history after the latest snapshot is gone before the snapshot was sent to any follower.
    fn has_lost_unsent_snapshot(&self) -> bool {
        let is_lost = |version| self.journal.has_unsent() && !self.journal.covers(version);
        self.snapshot.version().is_some_and(is_lost)
    }

    /// Captures the next part of the snapshot that is being captured.
    pub(super) fn continue_snapshot(&mut self) {
        self.capture_next(self.config.input_limits.snapshot_steps);
    }

    fn capture_next(&mut self, max_steps: usize) {
        if let LatestSnapshot::Capturing(capture) = &mut self.snapshot
            && capture.advance(&mut self.pool_state, max_steps)
            && let LatestSnapshot::Capturing(capture) = std::mem::take(&mut self.snapshot)
        {
            self.snapshot = LatestSnapshot::Complete(Arc::new(capture.finish()));
        }
    }

    /// Returns whether a snapshot is being captured.
    pub fn is_capturing(&self) -> bool {
        matches!(self.snapshot, LatestSnapshot::Capturing(_))
    }

    /// Releases the history after snapshots that should have been installed long ago, or that nobody asks for.
    pub fn expire_snapshots(&mut self, now_ms: u64) {
        self.journal.expire_pins(now_ms);
        self.drop_unused_snapshot();
    }

    /// Drops the latest snapshot unless a follower needs it: it may be as large as the state.
    pub(crate) fn drop_unused_snapshot(&mut self) {
        if !self.journal.is_pinned() {
            self.discard_snapshot();
        }
    }

    /// Drops the latest snapshot, whether it is complete or not. Its parts are freed with later inputs.
    pub(super) fn discard_snapshot(&mut self) {
        self.pool_state.end_capture();
        let snapshot = match std::mem::take(&mut self.snapshot) {
            LatestSnapshot::None => None,
            LatestSnapshot::Capturing(capture) => Some(capture.finish()),
            // A stream that still sends it frees it.
            LatestSnapshot::Complete(snapshot) => Arc::into_inner(snapshot),
        };
        self.discarded.extend(snapshot.into_iter().flat_map(|snapshot| snapshot.entries));
    }

    /// Frees the next parts of discarded snapshots.
    pub(super) fn free_discarded(&mut self) {
        let mut steps = 0;
        while steps < self.config.input_limits.snapshot_steps
            && let Some(entry) = self.discarded.pop()
        {
            steps += match &*entry {
                SnapshotEntry::Runs(runs) => runs.len(),
                _ => 1,
            };
        }
    }
}
