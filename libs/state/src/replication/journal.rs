//! Writes the latest part of a pool's history, from which followers that are slightly behind catch up.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::Version;

use super::changes::{Changes, Chunk};
use super::history::{CatchUp, History, MAX_CHANGES_PER_DELTA, MAX_DELTA_BYTES, SharedHistory};
use crate::pool_state::{Change, Digest};

/// How long a snapshot that was sent keeps the history after it, in milliseconds. A follower reports that it has installed
/// the snapshot; one that takes longer may need another.
const PIN_MS: u64 = 30_000;

/// A time at which all history is old: a process that is not the owner does not know the age of what it keeps.
const ALL_IS_OLD: u64 = u64::MAX;

/// How much history a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBounds {
    /// The weight in bytes, as estimated, up to which all history is kept.
    pub keep_bytes: usize,
    /// How long history is kept beyond `keep_bytes`, in milliseconds.
    pub keep_ms: u64,
    /// The maximum weight in bytes: of history younger than `keep_ms`, and of the history after a snapshot whose receiver
    /// will continue from there.
    pub max_bytes: usize,
}

impl Default for JournalBounds {
    fn default() -> Self {
        Self { keep_bytes: 16 << 20, keep_ms: 5_000, max_bytes: 64 << 20 }
    }
}

/// The history after a snapshot that was sent.
#[derive(Clone, Copy, Debug)]
struct Pin {
    seq: u64,
    since_ms: u64,
}

/// The latest part of a pool's history.
#[derive(Debug)]
pub struct Journal {
    history: SharedHistory,
    /// The version after the last change, whether it is in the history yet or not.
    head: Version,
    /// The changes that are not in the history yet.
    open: Vec<Change>,
    bounds: JournalBounds,
    pins: BTreeMap<u64, Pin>,
    /// The pin of a snapshot that was not sent to any follower yet.
    unsent: Option<Pin>,
}

impl Journal {
    /// Creates an empty journal that starts at `version` of a state with these checksums.
    pub fn new(version: Version, digest: Digest, bounds: JournalBounds) -> Self {
        Self::with_history(History::new(version, digest), bounds)
    }

    fn with_history(history: History, bounds: JournalBounds) -> Self {
        let head = history.head();
        let history = SharedHistory::new(history);
        Self { history, head, open: Vec::new(), bounds, pins: BTreeMap::new(), unsent: None }
    }

    /// Returns the history for those who read it.
    pub fn history(&self) -> &SharedHistory {
        &self.history
    }

    /// Changes how much the owner keeps.
    pub(crate) fn set_bounds(&mut self, now_ms: u64, bounds: JournalBounds) {
        self.bounds = bounds;
        self.trim(now_ms);
    }

    /// Changes how much a process keeps that is not the owner.
    pub(super) fn set_bounds_of_follower(&mut self, bounds: JournalBounds) {
        self.set_bounds(ALL_IS_OLD, bounds);
    }

    /// Returns the weight of the changes that are kept, in bytes.
    pub fn weight_bytes(&self) -> usize {
        self.history.read().weight_bytes()
    }

    /// Returns the version after the last change.
    pub fn head(&self) -> Version {
        self.head
    }

    /// Appends `change`. Readers see it after [`Self::publish`].
    pub fn push(&mut self, change: Change) {
        self.open.push(change);
        self.head.seq += 1;
    }

    /// Publishes what was appended, at `now_ms` of the owner's clock. The state now has these checksums.
    pub fn publish(&mut self, now_ms: u64, digest: Digest) {
        if self.open.is_empty() {
            return;
        }
        let chunks = Chunk::divide(std::mem::take(&mut self.open), MAX_CHANGES_PER_DELTA, MAX_DELTA_BYTES);
        self.publish_chunks(now_ms, chunks.into_iter().map(Arc::new), digest);
        self.trim(now_ms);
    }

    fn publish_chunks(&self, at_ms: u64, chunks: impl ExactSizeIterator<Item = Arc<Chunk>>, digest: Digest) {
        let (mut history, count) = (self.history.write(), chunks.len());
        for (at, chunk) in (1..).zip(chunks) {
            history.push(at_ms, (at == count).then_some(digest), chunk);
        }
    }

    /// Appends and publishes changes that were received from an owner. The state now has these checksums.
    pub(super) fn publish_received(&mut self, changes: &Changes, digest: Digest) {
        self.publish_chunks(0, changes.chunks().iter().map(Arc::clone), digest);
        self.head.seq += changes.len() as u64;
        self.trim(ALL_IS_OLD);
    }

    /// Continues the history under `epoch`. Does nothing unless the epoch is higher than the current one.
    pub fn begin_epoch(&mut self, epoch: u64) {
        if epoch > self.head.epoch {
            self.history.write().begin_epoch(epoch);
            self.head.epoch = epoch;
        }
    }

    /// Keeps the changes after `seq`, within bounds, until `holder` unpins: a snapshot at `seq` is being
    /// sent.
    pub fn pin(&mut self, now_ms: u64, holder: u64, seq: u64) {
        self.pins.insert(holder, Pin { seq, since_ms: now_ms });
    }

    /// Releases the pin of `holder`, which has installed its snapshot or is gone.
    pub fn unpin(&mut self, now_ms: u64, holder: u64) {
        if self.pins.remove(&holder).is_some() {
            self.trim(now_ms);
        }
    }

    /// Keeps the changes after `seq`, within bounds, until [`Self::unpin_unsent`]: a snapshot at `seq` is being captured,
    /// or waits for a follower to ask for it.
    pub(crate) fn pin_unsent(&mut self, now_ms: u64, seq: u64) {
        self.unsent = Some(Pin { seq, since_ms: now_ms });
    }

    /// Renews the pin of the snapshot that was not sent: a follower still waits for it.
    pub(crate) fn renew_unsent(&mut self, now_ms: u64) {
        if let Some(pin) = &mut self.unsent {
            pin.since_ms = now_ms;
        }
    }

    /// Releases the pin of the snapshot that was not sent.
    pub(crate) fn unpin_unsent(&mut self, now_ms: u64) {
        if self.unsent.take().is_some() {
            self.trim(now_ms);
        }
    }

    /// Releases the pins whose snapshots should have been installed long ago, or that nobody asks for.
    pub fn expire_pins(&mut self, now_ms: u64) {
        let is_over = |pin: &Pin| now_ms.saturating_sub(pin.since_ms) >= PIN_MS;
        let before = self.pins.len();
        self.pins.retain(|_, pin| !is_over(pin));
        let has_expired = self.unsent.take_if(|pin| is_over(pin)).is_some();
        if has_expired || self.pins.len() != before {
            self.trim(now_ms);
        }
    }

    /// Returns whether there is a snapshot that was not sent to any follower yet.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// Returns whether there is a snapshot that is not installed yet by everyone who needs it.
    pub(crate) fn is_pinned(&self) -> bool {
        self.unsent.is_some() || !self.pins.is_empty()
    }

    /// Returns the number of pins, one per snapshot that was sent and is not installed yet.
    pub fn pinned(&self) -> usize {
        self.pins.len()
    }

    /// Returns the journal of a process that is not the owner any more. Those who read the owner's history learn that it
    /// has ended.
    pub(crate) fn without_readers(self) -> Self {
        let taken = self.history.write().close();
        let mut journal = Self::with_history(taken, self.bounds);
        journal.trim(ALL_IS_OLD);
        journal
    }

    /// Returns what a follower at `cursor` needs next.
    pub fn since(&self, cursor: Version) -> CatchUp {
        self.history.read().since(cursor)
    }

    /// Returns whether a follower at `version` can catch up without a snapshot.
    pub fn covers(&self, version: Version) -> bool {
        !matches!(self.since(version), CatchUp::Snapshot | CatchUp::Deposed(_))
    }

    fn trim(&mut self, now_ms: u64) {
        let JournalBounds { keep_bytes, keep_ms, max_bytes } = self.bounds;
        let pinned = self.pins.values().chain(&self.unsent).map(|pin| pin.seq).min().unwrap_or(u64::MAX);
        self.history.write().trim(|bytes, at_ms, end| {
            let is_old = end <= pinned && now_ms.saturating_sub(at_ms) >= keep_ms;
            bytes > max_bytes || (bytes > keep_bytes && is_old)
        });
    }
}
