//! The latest part of a pool's history, as its owner writes it and the streams of followers read it.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use signalbox_types::Version;

use super::changes::{Changes, Chunk};
use super::frame::Frame;
use crate::pool_state::Digest;

/// The maximum number of changes in one delta. A follower that is further behind gets several.
pub(super) const MAX_CHANGES_PER_DELTA: usize = 512;

/// The maximum weight of one delta in bytes, unless its first change alone is heavier.
pub(super) const MAX_DELTA_BYTES: usize = 1 << 20;

/// The maximum number of epoch changes that are kept.
const MAX_EPOCH_CHANGES: usize = 16;

/// What a follower needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing: the follower is up to date.
    Current,
    /// This frame, after which the follower asks again.
    Frame(Frame),
    /// A snapshot: the missing history is no longer kept, or the follower's history is a different one.
    Snapshot,
    /// Nothing from this owner: the follower knows a higher epoch.
    Deposed(u64),
}

/// Where one owner's epoch ended and the next one's began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EpochBoundary {
    from_epoch: u64,
    epoch: u64,
    end_seq: u64,
}

/// A chunk in the history.
#[derive(Debug)]
struct Kept {
    /// The number of the last change.
    end: u64,
    /// When the owner made the changes, in milliseconds of its clock; 0 for those of an earlier owner.
    at_ms: u64,
    /// The checksums over the state after the last change; `None` if they are not known.
    digest: Option<Digest>,
    chunk: Arc<Chunk>,
}

/// The latest part of a pool's history.
#[derive(Debug)]
pub(super) struct History {
    epoch: u64,
    /// The latest epoch changes, as far back as the kept changes reach.
    epoch_changes: VecDeque<EpochBoundary>,
    /// The number of the change before the first one kept.
    start: u64,
    /// The checksums over the state before the first change kept, if they are known.
    start_digest: Option<Digest>,
    kept: VecDeque<Kept>,
    weight_bytes: usize,
    /// Whether nobody writes it any more.
    is_closed: bool,
}

impl History {
    pub(super) fn new(version: Version, digest: Digest) -> Self {
        Self {
            epoch: version.epoch,
            epoch_changes: VecDeque::new(),
            start: version.seq,
            start_digest: Some(digest),
            kept: VecDeque::new(),
            weight_bytes: 0,
            is_closed: false,
        }
    }

    pub(super) fn head(&self) -> Version {
        Version { epoch: self.epoch, seq: self.kept.back().map_or(self.start, |last| last.end) }
    }

    pub(super) fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    pub(super) fn push(&mut self, at_ms: u64, digest: Option<Digest>, chunk: Arc<Chunk>) {
        self.weight_bytes += chunk.weight_bytes();
        let end = self.head().seq + chunk.changes().len() as u64;
        self.kept.push_back(Kept { end, at_ms, digest, chunk });
    }

    pub(super) fn begin_epoch(&mut self, epoch: u64) {
        let boundary = EpochBoundary { from_epoch: self.epoch, epoch, end_seq: self.head().seq };
        self.epoch_changes.push_back(boundary);
        self.epoch_changes.drain(..self.epoch_changes.len().saturating_sub(MAX_EPOCH_CHANGES));
        self.epoch = epoch;
    }

    /// Drops the oldest chunks as long as `may_go` holds. It is passed the weight of everything that is kept, the
    /// time of the oldest chunk, and the number of its last change.
    pub(super) fn trim(&mut self, may_go: impl Fn(usize, u64, u64) -> bool) {
        while self.kept.front().is_some_and(|oldest| may_go(self.weight_bytes, oldest.at_ms, oldest.end))
            && let Some(oldest) = self.kept.pop_front()
        {
            self.weight_bytes -= oldest.chunk.weight_bytes();
            (self.start, self.start_digest) = (oldest.end, oldest.digest);
        }
        self.epoch_changes.retain(|change| change.end_seq >= self.start);
    }

    /// Takes everything, and tells the readers that nobody writes here any more.
    pub(super) fn close(&mut self) -> Self {
        let mut taken = Self::new(self.head(), Digest::default());
        std::mem::swap(&mut taken, self);
        self.is_closed = true;
        taken
    }

    /// Returns what a follower at `cursor` needs next.
    pub(super) fn since(&self, cursor: Version) -> CatchUp {
        if cursor.epoch > self.epoch {
            return CatchUp::Deposed(cursor.epoch);
        }
        if self.epoch_changes.iter().any(|change| change.epoch == cursor.epoch && cursor.seq < change.end_seq)
        {
            return CatchUp::Snapshot;
        }
        if cursor.epoch == self.epoch {
            return self.delta_since(cursor, self.head().seq, CatchUp::Current);
        }
        match self.epoch_changes.iter().find(|change| change.from_epoch == cursor.epoch) {
            Some(EpochBoundary { epoch, end_seq, .. }) => {
                let from = Version { epoch: cursor.epoch, seq: *end_seq };
                let change = CatchUp::Frame(Frame::EpochChange { from, epoch: *epoch });
                self.delta_since(cursor, *end_seq, change)
            }
            None => CatchUp::Snapshot,
        }
    }

    /// Returns the changes from `cursor` on, at most up to `end`, which is the end of a chunk.
    fn delta_since(&self, cursor: Version, end: u64, at_end: CatchUp) -> CatchUp {
        let Version { epoch, seq: from } = cursor;
        if from > end || from < self.start {
            return CatchUp::Snapshot;
        }
        if from == end {
            return at_end;
        }
        let first = self.kept.partition_point(|kept| kept.end <= from);
        let (mut chunks, mut to, mut bytes) = (Vec::new(), from, 0);
        for Kept { end: chunk_end, chunk, .. } in self.kept.range(first..) {
            bytes += chunk.weight_bytes();
            let is_too_much = (chunk_end - from) as usize > MAX_CHANGES_PER_DELTA || bytes > MAX_DELTA_BYTES;
            if *chunk_end > end || (is_too_much && !chunks.is_empty()) {
                break;
            }
            chunks.push(rest_of(chunk, (chunk_end - to) as usize));
            to = *chunk_end;
        }
        CatchUp::Frame(Frame::Delta { epoch, from, to, changes: Changes::from(chunks) })
    }

    /// Returns the heartbeat at `version`; `None` if the checksums are not known there. They always are at the head.
    fn heartbeat(&self, version: Version, now_ms: u64) -> Option<Frame> {
        let Version { epoch, seq } = version;
        let digest = self.digest_at(seq).filter(|_| epoch == self.epoch)?;
        Some(Frame::Heartbeat { epoch, seq, now_ms, digest })
    }

    fn digest_at(&self, seq: u64) -> Option<Digest> {
        if seq == self.start {
            return self.start_digest;
        }
        let at = self.kept.binary_search_by_key(&seq, |kept| kept.end).ok()?;
        self.kept[at].digest
    }
}

/// Returns the last `count` changes of a chunk as a chunk.
fn rest_of(chunk: &Arc<Chunk>, count: usize) -> Arc<Chunk> {
    let changes = chunk.changes();
    if count == changes.len() {
        return Arc::clone(chunk);
    }
    Arc::new(Chunk::new(changes[changes.len() - count..].to_vec()))
}

/// A history that one process writes and its streams read: they do not have to ask the writer.
#[derive(Clone, Debug)]
pub struct SharedHistory(Arc<RwLock<History>>);

impl SharedHistory {
    pub(super) fn new(history: History) -> Self {
        Self(Arc::new(RwLock::new(history)))
    }

    // No reader or writer panics with the lock: what they do with it cannot fail.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, History> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, History> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a follower at `cursor` needs next; `None` if the owner that wrote the history has stepped down.
    pub fn since(&self, cursor: Version) -> Option<CatchUp> {
        let history = self.read();
        (!history.is_closed).then(|| history.since(cursor))
    }

    /// Returns the owner's heartbeat at `now_ms` of its clock for a follower that was sent everything up to `version`;
    /// `None` if the checksums are not known for this version.
    pub fn heartbeat(&self, version: Version, now_ms: u64) -> Option<Frame> {
        self.read().heartbeat(version, now_ms)
    }

    /// Returns the owner's heartbeat at its own version.
    pub fn heartbeat_at_head(&self, now_ms: u64) -> Option<Frame> {
        let history = self.read();
        history.heartbeat(history.head(), now_ms)
    }
}
