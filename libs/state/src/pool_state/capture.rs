//! Captures the blocks of all endpoints in parts, while the state goes on changing. That changes nothing of the state.

use signalbox_prefix::Run;

use super::PoolState;

impl PoolState {
    /// Begins to capture the runs of the index as they are now.
    pub(crate) fn begin_capture(&mut self) {
        self.index_writer.begin_capture();
    }

    /// Returns the next captured runs; see [`signalbox_prefix::IndexWriter::capture_next`].
    pub(crate) fn capture_next(&mut self, max_steps: usize) -> Vec<Run> {
        self.index_writer.capture_next(max_steps)
    }

    /// Ends the capture before its runs were returned.
    pub(crate) fn end_capture(&mut self) {
        self.index_writer.end_capture();
    }
}
