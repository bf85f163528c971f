//! The phase between a successful claim and the first change: the new owner fetches missing history from
//! followers.

use std::collections::{BTreeMap, BTreeSet};

use crate::replication::Offer;

/// How long a new owner waits for the cursors of followers, in milliseconds.
const CURSOR_WAIT_MS: u64 = 200;

/// How long a follower may send nothing during a fetch, in milliseconds.
const FETCH_SILENCE_MS: u64 = 3_000;

/// How long all fetches of a takeover may take, in milliseconds. Then the owner starts with what it has: without a
/// bound, a follower that sends little would keep the pool without an owner.
pub(crate) const MAX_FETCH_MS: u64 = 60_000;

/// What a new owner must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeoverStep {
    Wait,
    /// Fetch the missing history from this follower.
    Fetch(u64),
    /// Discard what this follower has sent: its fetch has stopped.
    Abandon(u64),
    /// Start owning the pool: no follower has more history that it can deliver.
    Complete,
}

/// A fetch in progress.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    follower: u64,
    /// What the follower said that it holds.
    offered: Offer,
    last_frame_ms: u64,
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
    /// What each follower offers, if that is anything.
    offers: BTreeMap<u64, Offer>,
    fetch: Option<Fetch>,
    /// The followers that did not deliver what they offered. They are not asked again.
    failed: BTreeSet<u64>,
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
        Self {
            epoch,
            started_at_ms: now_ms,
            empty_wait_ms,
            awaiting_cursor,
            offers: BTreeMap::new(),
            fetch: None,
            failed: BTreeSet::new(),
            pending_messages,
        }
    }

    /// Takes the message to send to a follower now, if there is one.
    pub(crate) fn take_message(&mut self, follower: u64) -> Option<TakeoverMessage> {
        self.pending_messages.remove(&follower)
    }

    /// Records a frame that a follower sent at `now_ms`. Returns whether its history is being fetched.
    pub(crate) fn record_frame(&mut self, now_ms: u64, follower: u64) -> bool {
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| fetch.follower == follower) else {
            return false;
        };
        fetch.last_frame_ms = now_ms;
        true
    }

    /// Records the end of the fetch, after which this aggregator holds `held`.
    pub(crate) fn finish_fetch(&mut self, held: Option<Offer>) {
        if let Some(fetch) = self.fetch.take() {
            self.offers.remove(&fetch.follower);
            if held < Some(fetch.offered) {
                self.failed.insert(fetch.follower);
            }
        }
    }

    /// Records what a follower offers, and the highest epoch that it knows. One that does not know of
    /// this takeover yet has sent its cursor earlier, and another is on its way.
    pub(crate) fn record_cursor(&mut self, follower: u64, known_epoch: u64, offer: Option<Offer>) {
        if known_epoch >= self.epoch {
            self.awaiting_cursor.remove(&follower);
        }
        match offer.filter(|_| !self.has_failed(follower)) {
            Some(offer) => self.offers.insert(follower, offer),
            None => self.offers.remove(&follower),
        };
    }

    /// Returns whether a follower did not deliver what it offered.
    pub(crate) fn has_failed(&self, follower: u64) -> bool {
        self.failed.contains(&follower)
    }

    /// Removes a follower that has disconnected.
    pub(crate) fn remove_follower(&mut self, follower: u64) {
        self.awaiting_cursor.remove(&follower);
        self.offers.remove(&follower);
        self.failed.remove(&follower);
        self.fetch.take_if(|fetch| fetch.follower == follower);
    }

    /// Returns whether the time for fetches is over.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.started_at_ms) >= MAX_FETCH_MS
    }

    /// Returns what to do at `now_ms` when this aggregator holds `held`.
    pub(crate) fn next(&mut self, now_ms: u64, held: Option<Offer>) -> TakeoverStep {
        // A state that began earlier and has a lower version does not apply to what is held: it is inherited late.
        self.offers.retain(|_, offer| held.is_none_or(|held| *offer > held && offer.version > held.version));
        if let Some(Fetch { follower, last_frame_ms, .. }) = self.fetch {
            // It waits even if no history is missing any more: the heartbeat that ends a fetch carries the
            // clock that the state's timestamps refer to.
            if now_ms.saturating_sub(last_frame_ms) < FETCH_SILENCE_MS && !self.is_over(now_ms) {
                return TakeoverStep::Wait;
            }
            self.fetch = None;
            self.offers.remove(&follower);
            self.failed.insert(follower);
            return TakeoverStep::Abandon(follower);
        }
        let waited_ms = now_ms.saturating_sub(self.started_at_ms);
        let has_all_cursors = self.awaiting_cursor.is_empty() || waited_ms >= CURSOR_WAIT_MS;
        let offers = self.offers.iter().filter(|_| !self.is_over(now_ms));
        let best = offers.max_by_key(|(_, offer)| **offer).map(|(follower, offer)| (*follower, *offer));
        match best {
            Some((follower, offered)) if has_all_cursors => {
                self.fetch = Some(Fetch { follower, offered, last_frame_ms: now_ms });
                self.pending_messages.insert(follower, TakeoverMessage::FetchRequest);
                TakeoverStep::Fetch(follower)
            }
            None if has_all_cursors && (held.is_some() || waited_ms >= self.empty_wait_ms) => {
                TakeoverStep::Complete
            }
            Some(_) | None => TakeoverStep::Wait,
        }
    }
}

#[cfg(test)]
mod tests;
