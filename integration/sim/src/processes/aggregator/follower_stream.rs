//! What an aggregator sends one follower, and when.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use signalbox_actors::BackoffPolicy;
use signalbox_state::{
    CursorUse, Frame, FromAggregator, PollReply, PollWait, PollWant, Snapshot, SnapshotPace,
};
use signalbox_types::Version;

use crate::cluster::Cluster;

/// A follower that takes no message for this long is dropped, in milliseconds.
const SEND_TIMEOUT_MS: u64 = 5_000;

/// The delay before the next snapshot of a follower for which earlier ones were in vain.
const NEXT_SNAPSHOT: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(500), cap: Duration::from_secs(10) };

/// The stream to one follower.
#[derive(Debug, Default)]
pub(super) struct FollowerStream {
    /// The version that was sent.
    pub(super) cursor: Version,
    pace: SnapshotPace,
    /// The version of the snapshot that is being sent, and the frames that are left.
    snapshot: Option<(Version, VecDeque<Frame>)>,
    /// The version of the last snapshot that was sent.
    last_snapshot: Option<Version>,
    pub(super) wait: PollWait,
    /// Since when the follower has taken no message, in milliseconds.
    blocked_since_ms: Option<u64>,
    /// What the poll asks for that waits for the actor.
    pub(super) waiting: Option<PollWant>,
    /// Whether the last poll for changes found nothing for the follower yet, as while a snapshot is being captured.
    is_postponed: bool,
    /// How many heartbeats in a row found no place for the snapshot that the follower needs.
    postponed: u32,
    /// Whether a message was sent since the last heartbeat was due.
    has_sent: bool,
    /// How many times in a row a heartbeat was due and nothing was sent.
    silent: u32,
}

impl FollowerStream {
    /// Handles a cursor of the follower.
    pub(super) fn handle_cursor(&mut self, cluster: &mut Cluster, now_ms: u64, cursor: Version) {
        if self.snapshot.as_ref().is_some_and(|(version, _)| cursor < *version) {
            return;
        }
        match self.pace.handle_cursor(now_ms, cursor) {
            CursorUse::Now => self.cursor = cursor,
            CursorUse::Later(in_vain) => {
                let delay = NEXT_SNAPSHOT.delay(in_vain, cluster.queue.rng.random());
                self.wait.begin(now_ms + delay.as_millis() as u64);
                self.cursor = cursor;
            }
            CursorUse::Ignore => {}
        }
    }

    /// Records the reply to a poll.
    pub(super) fn record_reply(&mut self, now_ms: u64, want: PollWant, reply: &PollReply) {
        self.wait.record_reply(now_ms, reply);
        if want != PollWant::Heartbeat {
            self.is_postponed = matches!(reply, PollReply::Later);
        }
    }

    /// Records that a message is sent.
    pub(super) fn record_sent(&mut self) {
        self.has_sent = true;
    }

    /// Counts a heartbeat that was due. Returns how many in a row found no place for a snapshot, and how many in a row
    /// were not sent although the follower takes messages.
    pub(super) fn count_heartbeat(&mut self, is_busy: bool) -> (u32, u32) {
        // A busy actor answers its polls later.
        let must_send = !is_busy && self.waiting.is_none() && self.blocked_since_ms.is_none();
        self.postponed = if self.is_postponed { self.postponed + u32::from(!is_busy) } else { 0 };
        let has_sent = std::mem::take(&mut self.has_sent);
        self.silent = if must_send && !has_sent { self.silent + 1 } else { 0 };
        (self.postponed, self.silent)
    }

    /// Returns whether a poll waits for the actor already. A heartbeat that is due meanwhile is not lost.
    pub(super) fn joins_waiting_poll(&mut self, want: PollWant) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        if want != PollWant::Changes {
            *waiting = want;
        }
        true
    }

    /// Begins to send a snapshot. Returns whether the one before was in vain.
    pub(super) fn begin_snapshot(&mut self, snapshot: Arc<Snapshot>) -> bool {
        let before = self.last_snapshot.replace(snapshot.version);
        self.snapshot = Some((snapshot.version, snapshot.frames().collect()));
        before.is_some_and(|version| self.cursor < version)
    }

    /// Returns the next frame of the snapshot that is being sent.
    pub(super) fn next_of_snapshot(&mut self, now_ms: u64) -> Option<FromAggregator> {
        let (version, frames) = self.snapshot.as_mut()?;
        let (version, frame) = (*version, frames.pop_front());
        if frames.is_empty() {
            self.snapshot = None;
            self.cursor = version;
            self.pace.record_sent(now_ms, version);
        }
        frame.map(FromAggregator::Frame)
    }

    /// Records that the follower takes messages.
    pub(super) fn record_room(&mut self) {
        self.blocked_since_ms = None;
    }

    /// Records that the follower takes no message. Returns whether it must be dropped.
    pub(super) fn record_blocked(&mut self, now_ms: u64) -> bool {
        now_ms - *self.blocked_since_ms.get_or_insert(now_ms) >= SEND_TIMEOUT_MS
    }
}
