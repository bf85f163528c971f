//! A follower with the latest stretch of history: a standby that can go on from there, a replica that can lend it.

use signalbox_types::{Format, Version};

use crate::frame::{Frame, Snapshot};
use crate::journal::{CatchUp, Journal, JournalBounds};
use crate::pool_state::PoolState;
use crate::state_replica::{ApplyOutcome, FrameSource, StateReplica};

/// A [`StateReplica`] that keeps the changes it took in a [`Journal`] of its own: the owner's journal, or as much of its end as `bounds` allow.
#[derive(Debug)]
pub struct JournaledReplica {
    replica: StateReplica,
    /// Its head is what the replica holds, wherever that is sound.
    journal: Journal,
    bounds: JournalBounds,
}

impl JournaledReplica {
    /// A follower that holds nothing yet.
    pub fn new(bounds: JournalBounds) -> Self {
        Self { replica: StateReplica::default(), journal: Journal::new(Version::default(), bounds), bounds }
    }

    /// One that was the owner.
    pub(crate) fn deposed(
        pool_state: PoolState,
        journal: Journal,
        format: Format,
        bounds: JournalBounds,
    ) -> Self {
        Self { replica: StateReplica::holding(journal.head(), format, pool_state), journal, bounds }
    }

    /// What is held.
    pub fn replica(&self) -> &StateReplica {
        &self.replica
    }

    /// The version that can be built on; `None` when there is none.
    pub fn cursor(&self) -> Option<Version> {
        self.replica.cursor()
    }

    /// Takes one frame, as [`StateReplica::apply`].
    pub fn apply(&mut self, source: FrameSource, frame: Frame) -> ApplyOutcome {
        let changes = match &frame {
            Frame::Delta { changes, .. } => changes.clone(),
            _ => Vec::new(),
        };
        let outcome = self.replica.apply(source, frame);
        match (&outcome, self.replica.cursor()) {
            (ApplyOutcome::Applied, Some(head)) => {
                for change in changes {
                    self.journal.push(change);
                }
                self.journal.turn(head.epoch);
            }
            (ApplyOutcome::Reset, Some(head)) => self.journal = Journal::new(head, self.bounds),
            _ => {}
        }
        outcome
    }

    /// The stream is over.
    pub fn disconnected(&mut self, source: FrameSource) {
        self.replica.disconnected(source);
    }

    /// What it can offer to somebody who stands at `after`: the changes from there on, or all it holds; nothing when that is no later.
    pub fn offer(&self, after: Option<Version>) -> Vec<Frame> {
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
        let snapshot = Snapshot::cut(self.replica.pool_state(), head, self.replica.format());
        std::sync::Arc::new(snapshot).frames().collect()
    }

    /// Its parts, for an owner to go on with; `None` when what is held cannot be built on.
    pub(crate) fn into_parts(self) -> Option<(PoolState, Journal)> {
        self.cursor()?;
        Some((self.replica.into_picture(), self.journal))
    }
}
