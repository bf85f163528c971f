//! The latest part of a pool's history, from which followers that are slightly behind catch up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use signalbox_types::{ModelRewrite, Models, RewriteRule, Version};

use super::frame::Frame;
use crate::pool_state::Change;

/// The maximum number of changes in one delta. A follower that is further behind gets several.
const MAX_CHANGES_PER_DELTA: usize = 512;

/// The maximum weight of one delta in bytes, unless its first change alone is heavier.
const MAX_DELTA_BYTES: usize = 1 << 20;

/// The maximum number of epoch changes that are kept.
const MAX_EPOCH_CHANGES: usize = 16;

/// How much history a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBounds {
    /// The maximum weight in bytes, as estimated by `weight_bytes`.
    pub keep_bytes: usize,
    /// The maximum weight in bytes while a snapshot is being sent whose receiver will continue from there.
    pub keep_pinned_bytes: usize,
}

impl Default for JournalBounds {
    fn default() -> Self {
        Self { keep_bytes: 16 << 20, keep_pinned_bytes: 64 << 20 }
    }
}

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

/// The latest part of a pool's history.
#[derive(Debug)]
pub struct Journal {
    epoch: u64,
    /// The latest epoch changes, as far back as the kept changes reach.
    epoch_changes: VecDeque<EpochBoundary>,
    /// The number of the change before the first one kept.
    start: u64,
    changes: VecDeque<Arc<Change>>,
    weight: usize,
    bounds: JournalBounds,
    pins: BTreeMap<u64, u64>,
}

impl Journal {
    /// Creates an empty journal that starts at `version`.
    pub fn new(version: Version, bounds: JournalBounds) -> Self {
        let Version { epoch, seq } = version;
        Self {
            epoch,
            epoch_changes: VecDeque::new(),
            start: seq,
            changes: VecDeque::new(),
            weight: 0,
            bounds,
            pins: BTreeMap::new(),
        }
    }

    /// Changes how much is kept.
    pub(crate) fn set_bounds(&mut self, bounds: JournalBounds) {
        self.bounds = bounds;
        self.trim();
    }

    /// Returns the weight of the changes that are kept, in bytes.
    pub fn weight_bytes(&self) -> usize {
        self.weight
    }

    /// Returns the version after the last change.
    pub fn head(&self) -> Version {
        Version { epoch: self.epoch, seq: self.start + self.changes.len() as u64 }
    }

    /// Appends `change` and returns its version.
    pub fn push(&mut self, change: Arc<Change>) -> Version {
        self.weight += weight_bytes(&change);
        self.changes.push_back(change);
        self.trim();
        self.head()
    }

    /// Continues the history under `epoch`. Does nothing unless the epoch is higher than the current one.
    pub fn begin_epoch(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.epoch_changes.push_back(EpochBoundary {
                from_epoch: self.epoch,
                epoch,
                end_seq: self.head().seq,
            });
            self.epoch_changes.drain(..self.epoch_changes.len().saturating_sub(MAX_EPOCH_CHANGES));
            self.epoch = epoch;
        }
    }

    /// Keeps the changes after `seq`, within bounds, until `holder` unpins: a snapshot at `seq` is being
    /// sent.
    pub fn pin(&mut self, holder: u64, seq: u64) {
        self.pins.insert(holder, seq);
    }

    /// Releases the pin of `holder`, whose snapshot has arrived or failed.
    pub fn unpin(&mut self, holder: u64) {
        self.pins.remove(&holder);
        self.trim();
    }

    /// Returns the number of pins, one per snapshot being sent.
    pub fn pinned(&self) -> usize {
        self.pins.len()
    }

    /// Returns the journal with all pins released.
    pub(crate) fn without_pins(mut self) -> Self {
        self.pins.clear();
        self.trim();
        self
    }

    /// Returns what a follower at `cursor` needs next.
    pub fn since(&self, cursor: Version) -> CatchUp {
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

    /// Returns whether a follower at `version` can catch up without a snapshot.
    pub fn covers(&self, version: Version) -> bool {
        !matches!(self.since(version), CatchUp::Snapshot | CatchUp::Deposed(_))
    }

    fn delta_since(&self, cursor: Version, end: u64, at_end: CatchUp) -> CatchUp {
        let Version { epoch, seq: from } = cursor;
        if from > end || from < self.start {
            return CatchUp::Snapshot;
        }
        if from == end {
            return at_end;
        }
        let kept = self.changes.range((from - self.start) as usize..(end - self.start) as usize);
        let mut weight = 0;
        let fits = |change: &&Arc<Change>| {
            weight += weight_bytes(change);
            weight <= MAX_DELTA_BYTES || weight == weight_bytes(change)
        };
        let changes: Vec<_> = kept.take(MAX_CHANGES_PER_DELTA).take_while(fits).cloned().collect();
        let to = from + changes.len() as u64;
        CatchUp::Frame(Frame::Delta { epoch, from, to, changes })
    }

    fn trim(&mut self) {
        let pinned = self.pins.values().min().copied().unwrap_or(u64::MAX);
        while self.weight > self.bounds.keep_pinned_bytes
            || (self.weight > self.bounds.keep_bytes && self.start < pinned)
        {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.weight -= weight_bytes(&oldest);
            self.start += 1;
        }
        self.epoch_changes.retain(|change| change.end_seq >= self.start);
    }
}

/// Estimates how much memory a change takes, in bytes.
fn weight_bytes(change: &Change) -> usize {
    const FIXED: usize = 128;
    match change {
        Change::Placed { suffix, .. } => FIXED + suffix.len() * 8,
        Change::EndpointSet { spec } => FIXED + spec.name.len() + spec.labels.len() * 64,
        Change::ModelsSet { models } => FIXED + models_bytes(models),
        Change::AdaptersChanged { residency, .. } => FIXED + residency.names().count() * 48,
        _ => FIXED,
    }
}

fn models_bytes(models: &Models) -> usize {
    const EACH: usize = 96;
    let of_rule = |rule: &RewriteRule| EACH * (1 + 2 * rule.models.len() + rule.targets.len());
    let of_rewrite = |rewrite: &ModelRewrite| EACH + rewrite.rules.iter().map(of_rule).sum::<usize>();
    models.objectives().len() * EACH + models.rewrites().iter().map(of_rewrite).sum::<usize>()
}
