//! What holds while the owner is silent.

/// How long the owner may be silent, or not know this replica's flow control, before the replica grants by itself, in
/// milliseconds.
pub const OWNER_SILENCE_MS: u64 = 500;

/// Returns the highest priority of which requests wait for a grant, at any replica. What an owner said that is silent now does
/// not count: it would hold up requests until an owner is heard again.
pub(crate) fn highest_waiting(
    here: Option<i32>,
    elsewhere: Option<i32>,
    owner_silence_ms: u64,
) -> Option<i32> {
    here.max(elsewhere.filter(|_| owner_silence_ms < OWNER_SILENCE_MS))
}

/// Returns whether what a view shows of other replicas and of metrics is out of date, because nothing was heard for
/// `view_age_ms`.
pub(crate) fn is_outdated(view_age_ms: u64) -> bool {
    view_age_ms >= OWNER_SILENCE_MS
}
