//! The autoscaling signal that the owner published last.

use std::sync::Arc;

use signalbox_signal::Signal;

use super::PoolState;

impl PoolState {
    /// Returns the last signal; `None` if no owner has assessed the pool yet. Not part of the digest: each signal replaces the
    /// one before completely, so that a difference does not last, and older releases could not compute its checksum.
    pub fn signal(&self) -> Option<&Arc<Signal>> {
        self.signal.as_ref()
    }

    /// Sets the last signal.
    pub(crate) fn set_signal(&mut self, signal: &Arc<Signal>) {
        self.signal = Some(Arc::clone(signal));
    }
}
