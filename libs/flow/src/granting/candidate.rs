//! A flow whose next request may be granted.

use std::sync::Arc;

/// A flow of which requests wait.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: Arc<str>,
    /// Since when its first request waits.
    pub(super) head_ms: u64,
    pub(super) tokens: u64,
    pub(super) weight: u32,
}

impl Candidate {
    /// Returns for how long its first request has waited, in milliseconds.
    pub(super) fn waited_ms(&self, now_ms: u64) -> f64 {
        now_ms.saturating_sub(self.head_ms) as f64
    }
}
