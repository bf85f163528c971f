//! Whether a pool state may still be replaced by one that is older.

use super::PoolState;

impl PoolState {
    /// Returns the epoch in which an owner began this state with nothing, if the state is still provisional: it may be
    /// replaced by one that was begun earlier, which a follower holds. 0 if the state is final. Of two states, the one with
    /// the lower number is continued, whatever their versions. Not part of the digest, because older releases do not know
    /// it.
    pub fn provisional_since(&self) -> u64 {
        self.provisional_since
    }

    /// Sets the epoch in which a provisional state began; 0 makes the state final.
    pub(crate) fn set_provisional_since(&mut self, epoch: u64) {
        self.provisional_since = epoch;
    }
}
