//! The phase between a successful claim and the first change: the new owner fetches missing history from
//! followers.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_types::Version;

/// How long a new owner that has state waits for the cursors of followers, in milliseconds.
const CURSOR_WAIT_MS: u64 = 200;

/// How long a fetch from one follower may take, in milliseconds.
const FETCH_TIMEOUT_MS: u64 = 3_000;

/// What a new owner must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeoverStep {
    Wait,
    /// Fetch the missing history from this follower.
    Fetch(u64),
    /// Start owning the pool: no follower has more history.
    Complete,
}

/// A takeover in progress.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) epoch: u64,
    started_at_ms: u64,
    /// How long to wait for a follower with state if this aggregator has none, in milliseconds.
    empty_wait_ms: u64,
    /// The followers that have not sent a cursor yet.
    awaiting_cursor: BTreeSet<u64>,
    cursors: BTreeMap<u64, Version>,
    fetching: Option<(u64, u64)>,
    /// The message that each follower gets at its next poll.
    pending_messages: BTreeMap<u64, TakeoverMessage>,
}

/// A message from the new owner to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeoverMessage {
    /// This aggregator does not own the pool yet. The follower answers with its cursor.
    NotOwner,
    /// The follower must send the history that it holds.
    FetchRequest,
}

impl Takeover {
    /// Starts a takeover under `epoch` with the connected `followers`. Without state it waits up to
    /// `empty_wait_ms` for a follower that has some.
    pub(crate) fn new<'a>(
        epoch: u64,
        now_ms: u64,
        empty_wait_ms: u64,
        followers: impl IntoIterator<Item = &'a u64>,
    ) -> Self {
        let awaiting_cursor: BTreeSet<u64> = followers.into_iter().copied().collect();
        let pending_messages =
            awaiting_cursor.iter().map(|follower| (*follower, TakeoverMessage::NotOwner)).collect();
        let cursors = BTreeMap::new();
        Self {
            epoch,
            started_at_ms: now_ms,
            empty_wait_ms,
            awaiting_cursor,
            cursors,
            fetching: None,
            pending_messages,
        }
    }

    /// Takes the message to send to a follower now, if there is one.
    pub(crate) fn take_message(&mut self, follower: u64) -> Option<TakeoverMessage> {
        self.pending_messages.remove(&follower)
    }

    /// Returns whether this follower's history is being fetched.
    pub(crate) fn is_fetching_from(&self, follower: u64) -> bool {
        self.fetching.is_some_and(|(fetching, _)| fetching == follower)
    }

    /// Records the version that a follower holds.
    pub(crate) fn record_cursor(&mut self, follower: u64, version: Option<Version>) {
        self.awaiting_cursor.remove(&follower);
        match version {
            Some(version) => self.cursors.insert(follower, version),
            None => self.cursors.remove(&follower),
        };
    }

    /// Removes a follower that has disconnected or sent everything.
    pub(crate) fn remove_follower(&mut self, follower: u64) {
        self.awaiting_cursor.remove(&follower);
        self.cursors.remove(&follower);
        self.fetching.take_if(|(fetching, _)| *fetching == follower);
    }

    /// Returns what to do at `now_ms` when this aggregator holds `held`.
    pub(crate) fn next(&mut self, now_ms: u64, held: Option<Version>) -> TakeoverStep {
        self.cursors.retain(|_, version| Some(*version) > held);
        if let Some((fetching, since_fetch_ms)) = self.fetching {
            // It waits even if no history is missing any more: the heartbeat that ends a fetch carries the
            // clock that the state's timestamps refer to.
            if now_ms.saturating_sub(since_fetch_ms) < FETCH_TIMEOUT_MS {
                return TakeoverStep::Wait;
            }
            self.remove_follower(fetching);
        }
        let waited_ms = now_ms.saturating_sub(self.started_at_ms);
        let has_all_cursors = self.awaiting_cursor.is_empty() || waited_ms >= CURSOR_WAIT_MS;
        let best = self.cursors.iter().max_by_key(|(_, version)| **version).map(|(follower, _)| *follower);
        match best {
            Some(follower) if has_all_cursors => {
                self.fetching = Some((follower, now_ms));
                self.pending_messages.insert(follower, TakeoverMessage::FetchRequest);
                TakeoverStep::Fetch(follower)
            }
            Some(_) => TakeoverStep::Wait,
            None if held.is_some() && has_all_cursors => TakeoverStep::Complete,
            None if held.is_none() && waited_ms >= self.empty_wait_ms => TakeoverStep::Complete,
            None => TakeoverStep::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(epoch: u64, seq: u64) -> Option<Version> {
        Some(Version { epoch, seq })
    }

    #[test]
    fn takeover_completes_when_no_follower_has_more_history() {
        let mut takeover = Takeover::new(2, 0, 2_000, &BTreeSet::from([1, 2]));
        takeover.record_cursor(1, at(1, 9));
        assert_eq!(TakeoverStep::Wait, takeover.next(10, at(1, 10)));
        takeover.record_cursor(2, None);
        assert_eq!(TakeoverStep::Complete, takeover.next(10, at(1, 10)));
    }

    #[test]
    fn takeover_waits_briefly_for_missing_cursors() {
        let mut takeover = Takeover::new(2, 0, 2_000, &BTreeSet::from([1]));
        assert_eq!(TakeoverStep::Wait, takeover.next(CURSOR_WAIT_MS - 1, at(1, 10)));
        assert_eq!(TakeoverStep::Complete, takeover.next(CURSOR_WAIT_MS, at(1, 10)));
    }

    #[test]
    fn highest_version_is_fetched_first_then_the_next() {
        let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1, 2]));
        takeover.record_cursor(1, at(1, 90));
        takeover.record_cursor(2, at(2, 7));
        assert_eq!(TakeoverStep::Fetch(2), takeover.next(0, None));
        assert_eq!(TakeoverStep::Wait, takeover.next(10, None));
        takeover.remove_follower(2);
        assert_eq!(TakeoverStep::Fetch(1), takeover.next(20, None));
        assert_eq!(
            TakeoverStep::Wait,
            takeover.next(30, at(1, 90)),
            "the heartbeat that ends the fetch is missing"
        );
        takeover.remove_follower(1);
        assert_eq!(TakeoverStep::Complete, takeover.next(30, at(1, 90)));
    }

    #[test]
    fn owner_without_state_waits_for_a_follower_with_state() {
        let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::new());
        assert_eq!(TakeoverStep::Wait, takeover.next(1_999, None));
        assert_eq!(TakeoverStep::Complete, takeover.next(2_000, None));
        let mut first = Takeover::new(1, 0, 0, &BTreeSet::new());
        assert_eq!(TakeoverStep::Complete, first.next(0, None));
    }

    #[test]
    fn fetch_times_out() {
        let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1]));
        takeover.record_cursor(1, at(1, 90));
        assert_eq!(TakeoverStep::Fetch(1), takeover.next(0, at(1, 80)));
        assert_eq!(TakeoverStep::Complete, takeover.next(FETCH_TIMEOUT_MS, at(1, 80)));
    }
}
