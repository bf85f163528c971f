//! When a stream that ended is opened again, and how its end is logged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use signalbox_actors::StreamBackoff;
use signalbox_types::PeerAddress;

/// Maximum of distinct reasons that are logged as warnings until a stream is stable again.
const MAX_REASONS_LOGGED: usize = 16;

/// A stream that stayed open this long was stable.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Spaces the attempts to keep one stream open, and logs each reason for its end once.
pub(crate) struct Reopening {
    backoff: StreamBackoff,
    logged: BTreeSet<String>,
}

impl Reopening {
    pub(crate) fn new() -> Self {
        Self { backoff: StreamBackoff::default(), logged: BTreeSet::new() }
    }

    /// Waits before the next attempt. The last one began at `started` and ended for `reason`; `has_delivered` says
    /// whether a message arrived on the stream in between.
    pub(crate) async fn wait(
        &mut self,
        aggregator: &PeerAddress,
        started: Instant,
        has_delivered: bool,
        reason: &str,
    ) {
        let lasted = started.elapsed();
        if lasted >= STABLE_AFTER {
            self.logged.clear();
        }
        // A reason that was logged before is not news.
        if self.logged.len() < MAX_REASONS_LOGGED && self.logged.insert(reason.to_owned()) {
            tracing::warn!(%aggregator, reason, "no stream to the aggregator; retrying");
        } else {
            tracing::debug!(%aggregator, reason, "still no stream to the aggregator; retrying");
        }
        let served_for = if has_delivered { lasted } else { Duration::ZERO };
        tokio::time::sleep(self.backoff.delay(served_for, rand::random())).await;
    }
}
