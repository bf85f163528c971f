//! An owner that started with nothing inherits late: it fetches the state of an earlier owner from a follower that
//! connects only now.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use signalbox_types::Format;

use super::takeover::{Takeover, TakeoverMessage, TakeoverStep};
use crate::replication::{
    FetchProgress, Follower, Frame, FrameSource, FromAggregator, JournalBounds, JournaledReplica, Offer,
};

/// The state that an owner without any may still inherit.
///
/// Followers that hold some get nothing from the owner as long as it might inherit from them: a snapshot of its own
/// state would replace theirs.
#[derive(Debug)]
pub(crate) struct LateInheritance {
    /// The owner's epoch.
    epoch: u64,
    /// The epoch in which the owner's state began. States that began earlier are not its own.
    since: u64,
    format: Format,
    fetches: Takeover,
    /// Holds what was fetched, and the clock of the earlier owner.
    fetched: Follower,
    /// The followers that hold the state of an earlier owner.
    held_back: BTreeSet<u64>,
    is_ready: bool,
}

impl LateInheritance {
    /// Starts to wait for followers at `now_ms`, for an owner under `epoch` whose state is provisional since the epoch
    /// `since`.
    pub(crate) fn new(now_ms: u64, epoch: u64, since: u64, format: Format, bounds: JournalBounds) -> Self {
        Self {
            epoch,
            since,
            format,
            fetches: Takeover::new(epoch, now_ms, 0, &[]),
            fetched: Follower::new(JournaledReplica::new(bounds)),
            held_back: BTreeSet::new(),
            is_ready: false,
        }
    }

    /// Records that the owner continues its own state under `epoch`.
    pub(crate) fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Returns whether the owner must claim a later epoch, under which it continues the fetched state.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Records what a follower offers.
    pub(crate) fn record_cursor(&mut self, follower: u64, offer: Option<Offer>) {
        let earlier = offer.filter(|offer| self.is_wanted(*offer) && offer.version.seq > 0);
        if earlier.is_some() {
            self.held_back.insert(follower);
        } else {
            self.held_back.remove(&follower);
        }
        self.fetches.record_cursor(follower, self.epoch, earlier);
    }

    /// Returns whether what is offered is a state that began before the owner's.
    fn is_wanted(&self, Offer { provisional_since: Reverse(since), version }: Offer) -> bool {
        since < self.since && version.epoch < self.epoch
    }

    /// Removes a follower that has disconnected.
    pub(crate) fn remove_follower(&mut self, follower: u64) {
        self.held_back.remove(&follower);
        self.fetches.remove_follower(follower);
        self.fetched.cancel_fetch(FrameSource::Follower(follower));
    }

    /// Applies a frame that a follower sends in reply to a fetch request.
    pub(crate) fn apply(&mut self, now_ms: u64, follower: u64, frame: Frame) {
        if self.fetches.record_frame(now_ms, follower)
            && self.fetched.apply_fetched(now_ms, FrameSource::Follower(follower), frame)
                == FetchProgress::Complete
        {
            self.fetches.finish_fetch(self.fetched.replica().offer());
        }
    }

    /// Lets time pass. Returns whether followers must poll.
    pub(crate) fn advance(&mut self, now_ms: u64) -> bool {
        if self.is_ready {
            return false;
        }
        loop {
            let held = self.fetched.replica().offer();
            match self.fetches.next(now_ms, held) {
                TakeoverStep::Wait => return false,
                TakeoverStep::Fetch(_) => return true,
                TakeoverStep::Abandon(follower) => {
                    self.fetched.cancel_fetch(FrameSource::Follower(follower));
                }
                TakeoverStep::Complete => {
                    self.is_ready = held.is_some_and(|held| self.is_wanted(held))
                        && self.fetched.replica().state_replica().format().hashes_like(self.format);
                    return false;
                }
            }
        }
    }

    /// Returns whether it is too late to inherit.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        !self.is_ready && self.fetches.is_over(now_ms)
    }

    /// Returns whether a follower must not get the owner's state, because it holds that of an earlier owner.
    pub(crate) fn holds_back(&self, follower: u64) -> bool {
        self.held_back.contains(&follower) && !self.fetches.has_failed(follower)
    }

    /// Takes the request for a follower's state, if it is time to send it.
    pub(crate) fn take_request(&mut self, follower: u64) -> Option<FromAggregator> {
        let after = self.fetched.replica().cursor();
        (self.fetches.take_message(follower) == Some(TakeoverMessage::FetchRequest))
            .then_some(FromAggregator::FetchRequest { after })
    }

    /// Returns the fetched state, and the clock of its owner at `now_ms`.
    pub(crate) fn into_fetched(self, now_ms: u64) -> (JournaledReplica, u64) {
        let owner_now_ms = self.fetched.owner_now_ms(now_ms);
        (self.fetched.into_replica(), owner_now_ms)
    }
}
