//! When a follower's stream polls, and for what, while the follower has to wait for its changes.

use super::poll::{PollReply, PollWant};

/// Delay before the next poll while a snapshot is being captured, or too many are being sent, in milliseconds.
const POLL_DELAY_MS: u64 = 50;

/// Until when a follower's stream sends nothing but heartbeats. They say who owns the pool, and that the owner is alive.
#[derive(Clone, Copy, Debug, Default)]
pub struct PollWait {
    until_ms: Option<u64>,
}

impl PollWait {
    /// Begins to wait until `until_ms` of the stream's clock.
    pub fn begin(&mut self, until_ms: u64) {
        self.until_ms = Some(until_ms);
    }

    /// Returns when the wait ends, if the stream waits. Whoever sees this time come calls [`Self::end`].
    pub fn until_ms(&self) -> Option<u64> {
        self.until_ms
    }

    /// Ends the wait.
    pub fn end(&mut self) {
        self.until_ms = None;
    }

    /// Returns what the stream polls for when this is `due`; `None` if it does not poll now.
    pub fn want(&self, due: PollWant) -> Option<PollWant> {
        match (self.until_ms, due) {
            (Some(_), PollWant::Changes) => None,
            (Some(_), PollWant::ChangesAndHeartbeat | PollWant::Heartbeat) => Some(PollWant::Heartbeat),
            (None, due) => Some(due),
        }
    }

    /// Begins to wait if `reply`, which has come at `now_ms`, says that there is nothing for the follower now.
    pub fn record_reply(&mut self, now_ms: u64, reply: &PollReply) {
        if *reply == PollReply::Later {
            self.begin(now_ms + POLL_DELAY_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_that_waits_sends_heartbeats_only() {
        let (mut wait, dues) =
            (PollWait::default(), [PollWant::Changes, PollWant::ChangesAndHeartbeat, PollWant::Heartbeat]);
        wait.record_reply(7, &PollReply::Current(None));
        assert_eq!(dues.map(Some), dues.map(|due| wait.want(due)));
        wait.record_reply(7, &PollReply::Later);
        assert_eq!(Some(7 + POLL_DELAY_MS), wait.until_ms());
        let heartbeat = Some(PollWant::Heartbeat);
        assert_eq!([None, heartbeat, heartbeat], dues.map(|due| wait.want(due)));
        wait.end();
        assert_eq!(dues.map(Some), dues.map(|due| wait.want(due)));
    }
}
