//! Spaces the snapshots of one follower: one whose state differs from the owner's again after each snapshot must not
//! occupy the owner for ever.

use signalbox_types::Version;

/// Cursors that arrive this soon after a snapshot was sent may have crossed it, in milliseconds. A follower that does need
/// another snapshot repeats its cursor.
const CROSSING_MS: u64 = 1_000;

/// A snapshot that was enough for this long was not in vain, in milliseconds.
const STABLE_AFTER_MS: u64 = 60_000;

/// What to do with a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorUse {
    /// Continue after it.
    Now,
    /// Continue after it, but wait first: this number of snapshots in a row was in vain.
    Later(u32),
    /// Ignore it: the follower sent it before it received the snapshot.
    Ignore,
}

/// The snapshots that one follower was sent.
#[derive(Debug, Default)]
pub struct SnapshotPace {
    /// When the last snapshot was sent, in milliseconds, and its version.
    last: Option<(u64, Version)>,
    in_vain: u32,
}

impl SnapshotPace {
    /// Records that a snapshot at `version` was sent.
    pub fn record_sent(&mut self, now_ms: u64, version: Version) {
        self.last = Some((now_ms, version));
    }

    /// Returns what to do with a cursor that arrives.
    pub fn handle_cursor(&mut self, now_ms: u64, cursor: Version) -> CursorUse {
        let Some((sent_at_ms, _)) = self.last.filter(|(_, version)| cursor < *version) else {
            return CursorUse::Now;
        };
        let age_ms = now_ms.saturating_sub(sent_at_ms);
        if age_ms < CROSSING_MS {
            return CursorUse::Ignore;
        }
        self.last = None;
        if age_ms >= STABLE_AFTER_MS {
            self.in_vain = 0;
            return CursorUse::Now;
        }
        self.in_vain = self.in_vain.saturating_add(1);
        CursorUse::Later(self.in_vain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: Version = Version { epoch: 1, seq: 10 };

    #[test]
    fn lasting_divergence_is_counted() {
        let (mut pace, mut now_ms) = (SnapshotPace::default(), 0);
        assert_eq!(CursorUse::Now, pace.handle_cursor(now_ms, Version::default()));
        for in_vain in 1..=7 {
            pace.record_sent(now_ms, SNAPSHOT);
            assert_eq!(CursorUse::Ignore, pace.handle_cursor(now_ms, Version::default()));
            now_ms += CROSSING_MS;
            assert_eq!(CursorUse::Later(in_vain), pace.handle_cursor(now_ms, Version::default()));
            // It asks again while it waits.
            assert_eq!(CursorUse::Now, pace.handle_cursor(now_ms, Version::default()));
        }
        pace.record_sent(now_ms, SNAPSHOT);
        assert_eq!(CursorUse::Now, pace.handle_cursor(now_ms + STABLE_AFTER_MS, Version::default()));
        pace.record_sent(now_ms + STABLE_AFTER_MS, SNAPSHOT);
        let again = pace.handle_cursor(now_ms + STABLE_AFTER_MS + CROSSING_MS, Version::default());
        assert_eq!(CursorUse::Later(1), again, "the one before was enough for long");
    }

    #[test]
    fn cursor_after_the_snapshot_is_used() {
        let mut pace = SnapshotPace::default();
        pace.record_sent(0, SNAPSHOT);
        assert_eq!(CursorUse::Now, pace.handle_cursor(0, SNAPSHOT));
        assert_eq!(CursorUse::Ignore, pace.handle_cursor(0, Version { epoch: 1, seq: 9 }));
    }
}
