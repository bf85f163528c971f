//! A follower of the pool's state: takes frames in whatever order they come, and is never wrong, only behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{Format, Version};
use thiserror::Error;

use crate::change::Change;
use crate::digest::Digest;
use crate::frame::{Frame, SnapshotEntry, assemble};
use crate::pool_state::{Diverged, PoolState};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// It was taken; what is held moved on or is confirmed.
    Applied,
    /// It tells nothing new, or comes from an owner that is none any more. Nothing changed.
    Stale,
    /// Something before it is missing, or what is held is wrong; the owner has to be asked.
    Gap(Gap),
    /// A whole snapshot took the place of what was held.
    Reset,
}

/// Why a frame could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Gap {
    /// A frame is missing or out of order; what is held is right as far as it goes.
    #[error("a frame is missing")]
    Order,
    /// A snapshot did not arrive as it was sent.
    #[error("a snapshot did not arrive whole")]
    Snapshot,
    /// A change does not fit what is held.
    #[error("what is held is not what the owner holds")]
    Change(#[source] Diverged),
    /// The sums differ in these kinds.
    #[error("the state differs from the owner's in: {}", .0.join(", "))]
    Digest(Vec<&'static str>),
}

/// A stream on which frames come, numbered by whoever reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameSource {
    /// From an aggregator that is followed.
    Aggregator(u64),
    /// From a follower of this aggregator, which offers what it holds.
    JournaledReplica(u64),
}

/// A snapshot that is arriving on a stream.
#[derive(Debug)]
enum Incoming {
    /// One of an owner that is none any more.
    Outdated,
    /// One that may take the place of what is held.
    Buffered(Buffer),
}

#[derive(Debug)]
struct Buffer {
    version: Version,
    format: Format,
    entries: Vec<Arc<SnapshotEntry>>,
}

/// What is held, and whether it can be built on.
#[derive(Clone, Copy, Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Sound(Version),
    /// Better than nothing, but only a snapshot helps.
    Diverged(Version),
}

/// A follower of the pool's state.
#[derive(Debug, Default)]
pub struct StateReplica {
    held: Held,
    format: Format,
    pool_state: PoolState,
    incoming: BTreeMap<FrameSource, Incoming>,
}

/// How the epoch of a frame relates to the one that is held.
enum Epoch {
    Mine,
    Newer,
    Older,
    NothingHeld,
}

impl StateReplica {
    /// A follower that holds `picture`, which is at `version`.
    pub(crate) fn holding(version: Version, format: Format, pool_state: PoolState) -> Self {
        Self { held: Held::Sound(version), format, pool_state, incoming: BTreeMap::new() }
    }

    /// What is held, for an owner to go on from.
    pub(crate) fn into_picture(self) -> PoolState {
        self.pool_state
    }

    /// The version of what is held; `None` before the first snapshot.
    pub fn version(&self) -> Option<Version> {
        match self.held {
            Held::Nothing => None,
            Held::Sound(version) | Held::Diverged(version) => Some(version),
        }
    }

    /// The version that the owner can build on; `None` when only a snapshot helps.
    pub fn cursor(&self) -> Option<Version> {
        match self.held {
            Held::Nothing | Held::Diverged(_) => None,
            Held::Sound(version) => Some(version),
        }
    }

    /// By what the placements held are to be read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What is held; empty before the first snapshot.
    pub fn pool_state(&self) -> &PoolState {
        &self.pool_state
    }

    /// Takes one frame that came from `source`. The table in docs/PROTOCOL.md has a row for each arm and a column for each epoch.
    pub fn apply(&mut self, source: FrameSource, frame: Frame) -> ApplyOutcome {
        match frame {
            Frame::SnapshotBegin { version, format } => self.init(source, version, format),
            Frame::SnapshotEntry(entry) => self.entry(source, entry),
            Frame::SnapshotEnd { version, count, digest } => self.init_done(source, version, count, &digest),
            Frame::Delta { epoch, from, to, changes } => self.delta(epoch, from, to, &changes),
            Frame::EpochChange { from, epoch } => self.turn(from, epoch),
            Frame::Heartbeat { epoch, seq, digest, now_ms: _ } => self.beat(source, epoch, seq, &digest),
        }
    }

    /// The stream is over: what it left half sent will not be completed.
    pub fn disconnected(&mut self, source: FrameSource) {
        self.incoming.remove(&source);
    }

    fn compare(&self, epoch: u64) -> Epoch {
        match self.version() {
            None => Epoch::NothingHeld,
            Some(held) if held.epoch == epoch => Epoch::Mine,
            Some(held) if held.epoch < epoch => Epoch::Newer,
            Some(_) => Epoch::Older,
        }
    }

    fn init(&mut self, source: FrameSource, version: Version, format: Format) -> ApplyOutcome {
        if matches!(self.compare(version.epoch), Epoch::Older) {
            self.incoming.insert(source, Incoming::Outdated);
            return ApplyOutcome::Stale;
        }
        let buffer = Buffer { version, format, entries: Vec::new() };
        self.incoming.insert(source, Incoming::Buffered(buffer));
        ApplyOutcome::Applied
    }

    fn entry(&mut self, source: FrameSource, entry: Arc<SnapshotEntry>) -> ApplyOutcome {
        match self.incoming.get_mut(&source) {
            None => ApplyOutcome::Gap(Gap::Order),
            Some(Incoming::Outdated) => ApplyOutcome::Stale,
            Some(Incoming::Buffered(buffer)) => {
                buffer.entries.push(entry);
                ApplyOutcome::Applied
            }
        }
    }

    fn init_done(
        &mut self,
        source: FrameSource,
        ended: Version,
        count: u64,
        digest: &Digest,
    ) -> ApplyOutcome {
        let Buffer { version, format, entries } = match self.incoming.remove(&source) {
            None => return ApplyOutcome::Gap(Gap::Order),
            Some(Incoming::Outdated) => return ApplyOutcome::Stale,
            Some(Incoming::Buffered(buffer)) => buffer,
        };
        if matches!(self.compare(version.epoch), Epoch::Older) {
            return ApplyOutcome::Stale;
        }
        if version != ended || entries.len() as u64 != count {
            return ApplyOutcome::Gap(Gap::Snapshot);
        }
        if self.is_behind(version) {
            return ApplyOutcome::Stale;
        }
        match assemble(entries) {
            Ok(pool_state) if pool_state.digest() == *digest => {
                (self.held, self.format, self.pool_state) = (Held::Sound(version), format, pool_state);
                ApplyOutcome::Reset
            }
            Ok(_) | Err(_) => ApplyOutcome::Gap(Gap::Snapshot),
        }
    }

    /// Whether a snapshot at `version` is older than what is held. What has diverged is older than any of its epoch.
    fn is_behind(&self, version: Version) -> bool {
        match self.held {
            Held::Nothing => false,
            Held::Sound(held) => version < held,
            Held::Diverged(held) => version.epoch < held.epoch,
        }
    }

    fn delta(&mut self, epoch: u64, from: u64, to: u64, changes: &[Arc<Change>]) -> ApplyOutcome {
        let held = match (self.compare(epoch), self.held) {
            (Epoch::Mine, Held::Sound(held)) => held,
            (Epoch::Older, _) => return ApplyOutcome::Stale,
            (Epoch::Mine | Epoch::Newer | Epoch::NothingHeld, _) => return ApplyOutcome::Gap(Gap::Order),
        };
        if to <= held.seq {
            return ApplyOutcome::Stale;
        }
        if from != held.seq || to - from != changes.len() as u64 {
            return ApplyOutcome::Gap(Gap::Order);
        }
        for (seq, change) in (from + 1..).zip(changes) {
            self.held = Held::Sound(Version { epoch, seq });
            if let Err(diverged) = self.pool_state.apply(seq, change) {
                return self.diverge(Gap::Change(diverged));
            }
        }
        ApplyOutcome::Applied
    }

    fn turn(&mut self, from: Version, epoch: u64) -> ApplyOutcome {
        match (self.compare(epoch), self.held) {
            (Epoch::Newer, Held::Sound(held)) if held == from => {
                self.held = Held::Sound(Version { epoch, seq: from.seq });
                ApplyOutcome::Applied
            }
            (Epoch::Mine | Epoch::Older, _) => ApplyOutcome::Stale,
            (Epoch::Newer | Epoch::NothingHeld, _) => ApplyOutcome::Gap(Gap::Order),
        }
    }

    fn beat(&mut self, source: FrameSource, epoch: u64, seq: u64, digest: &Digest) -> ApplyOutcome {
        match (self.compare(epoch), self.held) {
            (Epoch::Older, _) => ApplyOutcome::Stale,
            (Epoch::NothingHeld, _) => {
                // An owner beats when it has sent all: a snapshot that is not whole by now will not be.
                self.incoming.remove(&source);
                ApplyOutcome::Gap(Gap::Order)
            }
            (Epoch::Newer, _) | (Epoch::Mine, Held::Diverged(_) | Held::Nothing) => {
                ApplyOutcome::Gap(Gap::Order)
            }
            (Epoch::Mine, Held::Sound(held)) if seq > held.seq => ApplyOutcome::Gap(Gap::Order),
            (Epoch::Mine, Held::Sound(held)) if seq < held.seq => ApplyOutcome::Stale,
            (Epoch::Mine, Held::Sound(_)) => {
                let differing = self.pool_state.digest().differing(digest);
                if differing.is_empty() {
                    ApplyOutcome::Applied
                } else {
                    self.diverge(Gap::Digest(differing))
                }
            }
        }
    }

    fn diverge(&mut self, gap: Gap) -> ApplyOutcome {
        if let Held::Sound(version) = self.held {
            self.held = Held::Diverged(version);
        }
        ApplyOutcome::Gap(gap)
    }
}
