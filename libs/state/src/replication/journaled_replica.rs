//! A replica of a pool's state that also keeps the latest history, so that it can take over the pool or send
//! history to a new owner.

use signalbox_types::{Format, Version};

use super::changes::Changes;
use super::follower_messages::Offer;
use super::frame::Frame;
use super::history::CatchUp;
use super::journal::{Journal, JournalBounds};
use super::snapshot::Snapshot;
use super::state_replica::{ApplyOutcome, FrameSource, StateReplica};
use crate::pool_state::{Digest, PoolState};

/// A [`StateReplica`] that records the changes it applies in its own [`Journal`]: the same history as the
/// owner's, as far back as `bounds` allow.
#[derive(Debug)]
pub struct JournaledReplica {
    state_replica: StateReplica,
    /// The head equals the replica's version as long as the replica is consistent.
    journal: Journal,
    bounds: JournalBounds,
}

impl JournaledReplica {
    /// Creates a replica that holds nothing.
    pub fn new(bounds: JournalBounds) -> Self {
        Self {
            state_replica: StateReplica::default(),
            journal: Journal::new(Version::default(), Digest::default(), bounds),
            bounds,
        }
    }

    /// Creates the replica of an aggregator that was the owner until now.
    pub(crate) fn from_owner(
        pool_state: PoolState,
        journal: Journal,
        format: Format,
        bounds: JournalBounds,
    ) -> Self {
        Self { state_replica: StateReplica::with_state(journal.head(), format, pool_state), journal, bounds }
    }

    /// Returns the replica of the state.
    pub fn state_replica(&self) -> &StateReplica {
        &self.state_replica
    }

    /// Returns the latest history.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns the version that the owner can continue from; `None` if only a snapshot helps.
    pub fn cursor(&self) -> Option<Version> {
        self.state_replica.cursor()
    }

    /// Returns what this replica holds, as it would be offered to a new owner.
    pub(crate) fn offer(&self) -> Option<Offer> {
        let provisional_since = self.state_replica.pool_state().provisional_since();
        self.cursor().map(|version| Offer::new(provisional_since, version))
    }

    /// Changes how much history is kept.
    pub(crate) fn set_bounds(&mut self, bounds: JournalBounds) {
        self.bounds = bounds;
        self.journal.set_bounds_of_follower(bounds);
    }

    /// Tells the time; see [`StateReplica::record_time`].
    pub fn record_time(&mut self, now_ms: u64) {
        self.state_replica.record_time(now_ms);
    }

    /// Applies one frame; see [`StateReplica::apply`].
    pub fn apply(&mut self, source: FrameSource, frame: Frame) -> ApplyOutcome {
        let changes = match &frame {
            Frame::Delta { changes, .. } => changes.clone(),
            _ => Changes::default(),
        };
        let outcome = self.state_replica.apply(source, frame);
        match (&outcome, self.state_replica.cursor()) {
            (ApplyOutcome::Applied, Some(head)) => {
                self.journal.publish_received(&changes, self.state_replica.pool_state().digest());
                self.journal.begin_epoch(head.epoch);
            }
            (ApplyOutcome::Reset, Some(head)) => {
                let digest = self.state_replica.pool_state().digest();
                self.journal = Journal::new(head, digest, self.bounds);
            }
            _ => {}
        }
        outcome
    }

    /// Discards an incomplete snapshot from `source`, whose stream has ended.
    pub fn discard_partial_snapshot(&mut self, source: FrameSource) {
        self.state_replica.discard_partial_snapshot(source);
    }

    /// Returns the frames that a process at `after` is missing: the changes since then, or the whole state as a
    /// snapshot. Returns no frames if this replica is not ahead.
    pub fn frames_after(&self, after: Option<Version>) -> Vec<Frame> {
        let Some(head) = self.cursor().filter(|head| Some(*head) > after) else { return Vec::new() };
        let mut frames = Vec::new();
        let mut at = after.unwrap_or_default();
        loop {
            match self.journal.since(at) {
                CatchUp::Current => return frames,
                CatchUp::Frame(frame) => {
                    at = frame.ends_at().unwrap_or(at);
                    frames.push(frame);
                }
                CatchUp::Snapshot | CatchUp::Deposed(_) => break,
            }
        }
        let snapshot = Snapshot::capture(self.state_replica.pool_state(), head, self.state_replica.format());
        std::sync::Arc::new(snapshot).frames().collect()
    }

    /// Returns the state and the journal, for a new owner to continue with; `None` if the state cannot be
    /// continued.
    pub(crate) fn into_parts(self) -> Option<(PoolState, Journal)> {
        self.cursor()?;
        Some((self.state_replica.into_pool_state(), self.journal))
    }
}
