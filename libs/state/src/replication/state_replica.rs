//! A replica of the pool state. It applies frames in any order of arrival and is never wrong, only behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{Format, Version};
use thiserror::Error;

use super::changes::Changes;
use super::frame::{Frame, SnapshotEntry};
use super::snapshot::assemble;
use crate::pool_state::{Digest, Diverged, PoolState};

/// The highest number of a change in a snapshot. Counting never gets there, and changes that follow still can be
/// numbered.
const MAX_SEQ: u64 = 1 << 62;

/// The result of applying a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// The frame was applied: the state advanced or was confirmed.
    Applied,
    /// The frame contains nothing new, or comes from an earlier owner. Nothing changed.
    Stale,
    /// An earlier frame is missing, or the state has diverged. The follower must ask the owner.
    Gap(Gap),
    /// A complete snapshot replaced the state.
    Reset,
}

/// Why a frame could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Gap {
    /// A frame is missing or out of order. The state is correct, but behind.
    #[error("a frame is missing or out of order")]
    Order,
    /// A snapshot arrived incomplete or corrupted.
    #[error("a snapshot arrived incomplete or corrupted")]
    Snapshot,
    /// A change does not match the state.
    #[error("a change does not match the local state")]
    Change(#[source] Diverged),
    /// The checksums of these kinds differ from the owner's.
    #[error("the local state differs from the owner's in: {}", .0.join(", "))]
    Digest(Vec<&'static str>),
}

/// The stream that a frame arrived on, numbered by its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameSource {
    /// The stream to an aggregator that this process follows.
    Aggregator(u64),
    /// The stream from a follower of this aggregator, which replies to a fetch request.
    Follower(u64),
}

/// A snapshot that is arriving on a stream.
#[derive(Debug)]
enum Incoming {
    /// The snapshot comes from an earlier owner.
    Outdated,
    /// The snapshot may replace the state when it is complete.
    Buffering(Buffer),
}

#[derive(Debug)]
struct Buffer {
    version: Version,
    format: Format,
    entries: Vec<Arc<SnapshotEntry>>,
}

/// The version of the state, and whether the owner can continue from it.
#[derive(Clone, Copy, Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Consistent(Version),
    /// The state is usable for decisions, but only a snapshot makes it consistent again.
    Diverged(Version),
}

/// A replica of the pool state.
#[derive(Debug, Default)]
pub struct StateReplica {
    held: Held,
    format: Format,
    pool_state: PoolState,
    incoming: BTreeMap<FrameSource, Incoming>,
}

/// How the epoch of a frame relates to the epoch of the state.
enum Epoch {
    Same,
    Newer,
    Older,
    NothingHeld,
}

impl StateReplica {
    /// Creates a replica of `pool_state`, which is at `version`.
    pub(crate) fn with_state(version: Version, format: Format, pool_state: PoolState) -> Self {
        Self { held: Held::Consistent(version), format, pool_state, incoming: BTreeMap::new() }
    }

    /// Returns the state, for an owner to continue with.
    pub(crate) fn into_pool_state(self) -> PoolState {
        self.pool_state
    }

    /// Returns the version of the state; `None` before the first snapshot.
    pub fn version(&self) -> Option<Version> {
        match self.held {
            Held::Nothing => None,
            Held::Consistent(version) | Held::Diverged(version) => Some(version),
        }
    }

    /// Returns the version that the owner can continue from; `None` if only a snapshot helps.
    pub fn cursor(&self) -> Option<Version> {
        match self.held {
            Held::Nothing | Held::Diverged(_) => None,
            Held::Consistent(version) => Some(version),
        }
    }

    /// Returns the version at which the state diverged; `None` if it has not.
    pub fn diverged_at(&self) -> Option<Version> {
        match self.held {
            Held::Nothing | Held::Consistent(_) => None,
            Held::Diverged(version) => Some(version),
        }
    }

    /// Returns the format of the placements.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the state; empty before the first snapshot.
    pub fn pool_state(&self) -> &PoolState {
        &self.pool_state
    }

    /// Tells the time of this process's clock, in milliseconds: when the endpoints start with prompts that later frames
    /// tell of.
    pub fn record_time(&mut self, now_ms: u64) {
        self.pool_state.loads_mut().record_time(now_ms);
    }

    /// Applies one frame that arrived on `source`. The table in docs/PROTOCOL.md has one row per kind of
    /// frame and one column per relation of epochs.
    pub fn apply(&mut self, source: FrameSource, frame: Frame) -> ApplyOutcome {
        match frame {
            Frame::SnapshotBegin { version, format } => self.begin_snapshot(source, version, format),
            Frame::SnapshotEntry(entry) => self.add_entry(source, entry),
            Frame::SnapshotEnd { version, count, digest } => {
                self.end_snapshot(source, version, count, &digest)
            }
            Frame::Delta { epoch, from, to, changes } => self.apply_delta(epoch, from, to, &changes),
            Frame::EpochChange { from, epoch } => self.change_epoch(from, epoch),
            Frame::Heartbeat { epoch, seq, digest, now_ms: _ } => {
                self.check_heartbeat(source, epoch, seq, &digest)
            }
        }
    }

    /// Discards an incomplete snapshot from `source`, whose stream has ended.
    pub fn discard_partial_snapshot(&mut self, source: FrameSource) {
        self.incoming.remove(&source);
    }

    fn compare(&self, epoch: u64) -> Epoch {
        match self.version() {
            None => Epoch::NothingHeld,
            Some(held) if held.epoch == epoch => Epoch::Same,
            Some(held) if held.epoch < epoch => Epoch::Newer,
            Some(_) => Epoch::Older,
        }
    }

    fn begin_snapshot(&mut self, source: FrameSource, version: Version, format: Format) -> ApplyOutcome {
        if matches!(self.compare(version.epoch), Epoch::Older) {
            self.incoming.insert(source, Incoming::Outdated);
            return ApplyOutcome::Stale;
        }
        if version.seq > MAX_SEQ {
            self.incoming.remove(&source);
            return ApplyOutcome::Gap(Gap::Snapshot);
        }
        let buffer = Buffer { version, format, entries: Vec::new() };
        self.incoming.insert(source, Incoming::Buffering(buffer));
        ApplyOutcome::Applied
    }

    fn add_entry(&mut self, source: FrameSource, entry: Arc<SnapshotEntry>) -> ApplyOutcome {
        match self.incoming.get_mut(&source) {
            None => ApplyOutcome::Gap(Gap::Order),
            Some(Incoming::Outdated) => ApplyOutcome::Stale,
            Some(Incoming::Buffering(buffer)) => {
                buffer.entries.push(entry);
                ApplyOutcome::Applied
            }
        }
    }

    fn end_snapshot(
        &mut self,
        source: FrameSource,
        end: Version,
        count: u64,
        digest: &Digest,
    ) -> ApplyOutcome {
        let Buffer { version, format, entries } = match self.incoming.remove(&source) {
            None => return ApplyOutcome::Gap(Gap::Order),
            Some(Incoming::Outdated) => return ApplyOutcome::Stale,
            Some(Incoming::Buffering(buffer)) => buffer,
        };
        if matches!(self.compare(version.epoch), Epoch::Older) {
            return ApplyOutcome::Stale;
        }
        if version != end || entries.len() as u64 != count {
            return ApplyOutcome::Gap(Gap::Snapshot);
        }
        if self.is_behind(version) {
            return ApplyOutcome::Stale;
        }
        match assemble(entries) {
            Ok(mut pool_state) if pool_state.digest() == *digest => {
                pool_state.loads_mut().continue_prefills_of(self.pool_state.loads());
                (self.held, self.format, self.pool_state) = (Held::Consistent(version), format, pool_state);
                ApplyOutcome::Reset
            }
            Ok(_) | Err(_) => ApplyOutcome::Gap(Gap::Snapshot),
        }
    }

    /// Returns whether a snapshot at `version` is older than the state. A diverged state is older than any
    /// snapshot of its epoch.
    fn is_behind(&self, version: Version) -> bool {
        match self.held {
            Held::Nothing => false,
            Held::Consistent(held) => version < held,
            Held::Diverged(held) => version.epoch < held.epoch,
        }
    }

    fn apply_delta(&mut self, epoch: u64, from: u64, to: u64, changes: &Changes) -> ApplyOutcome {
        let held = match (self.compare(epoch), self.held) {
            (Epoch::Same, Held::Consistent(held)) => held,
            (Epoch::Older, _) => return ApplyOutcome::Stale,
            (Epoch::Same | Epoch::Newer | Epoch::NothingHeld, _) => return ApplyOutcome::Gap(Gap::Order),
        };
        if to <= held.seq {
            return ApplyOutcome::Stale;
        }
        if from != held.seq || to - from != changes.len() as u64 {
            return ApplyOutcome::Gap(Gap::Order);
        }
        self.pool_state.read_ahead(changes.iter());
        for (seq, change) in (from + 1..).zip(changes.iter()) {
            self.held = Held::Consistent(Version { epoch, seq });
            if let Err(diverged) = self.pool_state.apply(seq, change) {
                return self.mark_diverged(Gap::Change(diverged));
            }
        }
        ApplyOutcome::Applied
    }

    fn change_epoch(&mut self, from: Version, epoch: u64) -> ApplyOutcome {
        match (self.compare(epoch), self.held) {
            (Epoch::Newer, Held::Consistent(held)) if held == from => {
                self.held = Held::Consistent(Version { epoch, seq: from.seq });
                ApplyOutcome::Applied
            }
            (Epoch::Same | Epoch::Older, _) => ApplyOutcome::Stale,
            (Epoch::Newer | Epoch::NothingHeld, _) => ApplyOutcome::Gap(Gap::Order),
        }
    }

    fn check_heartbeat(
        &mut self,
        source: FrameSource,
        epoch: u64,
        seq: u64,
        digest: &Digest,
    ) -> ApplyOutcome {
        match (self.compare(epoch), self.held) {
            (Epoch::Older, _) => ApplyOutcome::Stale,
            (Epoch::NothingHeld, _) => {
                // An owner sends no heartbeat between the frames of a snapshot: one that is incomplete by now will
                // stay so.
                self.incoming.remove(&source);
                ApplyOutcome::Gap(Gap::Order)
            }
            (Epoch::Newer, _) | (Epoch::Same, Held::Diverged(_) | Held::Nothing) => {
                ApplyOutcome::Gap(Gap::Order)
            }
            (Epoch::Same, Held::Consistent(held)) if seq > held.seq => ApplyOutcome::Gap(Gap::Order),
            (Epoch::Same, Held::Consistent(held)) if seq < held.seq => ApplyOutcome::Stale,
            (Epoch::Same, Held::Consistent(_)) => {
                let differing = self.pool_state.digest().differing(digest);
                if differing.is_empty() {
                    ApplyOutcome::Applied
                } else {
                    self.mark_diverged(Gap::Digest(differing))
                }
            }
        }
    }

    fn mark_diverged(&mut self, gap: Gap) -> ApplyOutcome {
        if let Held::Consistent(version) = self.held {
            self.held = Held::Diverged(version);
        }
        ApplyOutcome::Gap(gap)
    }
}
