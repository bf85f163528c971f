//! Captures a snapshot in parts, while the state goes on changing.

use signalbox_types::{Format, Version};

use super::snapshot::{RunEntries, Snapshot, entries_without_blocks};
use crate::pool_state::PoolState;

/// A snapshot that is being captured. It describes the state at the version at which the capture began.
///
/// What is small, or shared with the state, is captured at once. The blocks follow in parts: the index copies what has not
/// been captured yet before it changes.
#[derive(Debug)]
pub struct SnapshotCapture {
    snapshot: Snapshot,
    runs: RunEntries,
}

impl SnapshotCapture {
    /// Begins to capture `pool_state`, which is at `version`. An earlier capture of this state cannot go on.
    pub fn begin(pool_state: &mut PoolState, version: Version, format: Format) -> Self {
        let (entries, digest) = (entries_without_blocks(pool_state), pool_state.digest());
        pool_state.begin_capture();
        let snapshot = Snapshot { version, format, digest, entries };
        Self { snapshot, runs: RunEntries::default() }
    }

    /// Returns the version of the snapshot.
    pub fn version(&self) -> Version {
        self.snapshot.version
    }

    /// Captures more of `pool_state`, to which changes may have been applied since the beginning. Takes about `max_steps`
    /// steps, one for each run and each of its holders. Returns whether the snapshot is complete.
    pub fn advance(&mut self, pool_state: &mut PoolState, max_steps: usize) -> bool {
        pool_state.capture_next(max_steps).into_iter().for_each(|run| self.runs.push(run));
        !pool_state.index_writer().is_capturing()
    }

    /// Returns what was captured: the snapshot if [`Self::advance`] said that it is complete.
    pub fn finish(mut self) -> Snapshot {
        self.snapshot.entries.extend(self.runs.finish());
        self.snapshot
    }
}
