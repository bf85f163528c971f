//! Spaces the snapshots of one follower: one whose state differs from the owner's again after each snapshot must not
//! occupy the owner for ever.

use std::time::{Duration, Instant};

use signalbox_actors::{Backoff, BackoffPolicy};
use signalbox_types::Version;

/// Cursors that arrive this soon after a snapshot was sent may have crossed it. A follower that does need another
/// snapshot repeats its cursor.
const CROSSING: Duration = Duration::from_secs(1);

/// A snapshot that was enough for this long was not in vain.
const STABLE_AFTER: Duration = Duration::from_secs(60);

const AGAIN: BackoffPolicy = BackoffPolicy { base: Duration::from_millis(500), cap: Duration::from_secs(10) };

/// What to do with a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorUse {
    /// Continue after it.
    Now,
    /// Continue after it, but wait this long.
    After(Duration),
    /// Ignore it: the follower sent it before it received the snapshot.
    Ignore,
}

/// The snapshots that one follower was sent.
#[derive(Debug)]
pub(super) struct SnapshotPace {
    /// When the last snapshot was sent, and its version.
    last: Option<(Instant, Version)>,
    backoff: Backoff,
}

impl Default for SnapshotPace {
    fn default() -> Self {
        Self { last: None, backoff: Backoff::new(AGAIN) }
    }
}

impl SnapshotPace {
    /// Records that a snapshot at `version` was sent.
    pub(super) fn record_sent(&mut self, now: Instant, version: Version) {
        self.last = Some((now, version));
    }

    /// Returns what to do with a cursor that arrives. `jitter` is drawn from `[0, 1)`.
    pub(super) fn handle_cursor(&mut self, now: Instant, cursor: Version, jitter: f64) -> CursorUse {
        let Some((sent_at, _)) = self.last.filter(|(_, version)| cursor < *version) else {
            return CursorUse::Now;
        };
        let age = now.saturating_duration_since(sent_at);
        if age < CROSSING {
            return CursorUse::Ignore;
        }
        self.last = None;
        if age >= STABLE_AFTER {
            self.backoff.on_success();
            return CursorUse::Now;
        }
        CursorUse::After(self.backoff.on_failure(jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: Version = Version { epoch: 1, seq: 10 };

    #[test]
    fn lasting_divergence_gets_snapshots_at_growing_intervals() {
        let (mut pace, mut now) = (SnapshotPace::default(), Instant::now());
        assert_eq!(CursorUse::Now, pace.handle_cursor(now, Version::default(), 0.0));
        let mut waits = Vec::new();
        for _ in 0..7 {
            pace.record_sent(now, SNAPSHOT);
            assert_eq!(CursorUse::Ignore, pace.handle_cursor(now, Version::default(), 0.0));
            now += CROSSING;
            let CursorUse::After(wait) = pace.handle_cursor(now, Version::default(), 0.0) else { panic!() };
            // It asks again while it waits.
            assert_eq!(CursorUse::Now, pace.handle_cursor(now, Version::default(), 0.0));
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(vec![500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000], waits);
        pace.record_sent(now, SNAPSHOT);
        assert_eq!(CursorUse::Now, pace.handle_cursor(now + STABLE_AFTER, Version::default(), 0.0));
        pace.record_sent(now + STABLE_AFTER, SNAPSHOT);
        let again = pace.handle_cursor(now + STABLE_AFTER + CROSSING, Version::default(), 0.0);
        assert_eq!(CursorUse::After(AGAIN.base), again, "the one before was enough for long");
    }

    #[test]
    fn cursor_after_the_snapshot_is_used() {
        let (mut pace, now) = (SnapshotPace::default(), Instant::now());
        pace.record_sent(now, SNAPSHOT);
        assert_eq!(CursorUse::Now, pace.handle_cursor(now, SNAPSHOT, 0.0));
        assert_eq!(CursorUse::Ignore, pace.handle_cursor(now, Version { epoch: 1, seq: 9 }, 0.0));
    }
}
