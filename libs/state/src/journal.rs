//! The latest stretch of a pool's history, from which followers that are a little behind catch up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use signalbox_types::{ModelRewrite, Models, RewriteRule, Version};

use crate::change::Change;
use crate::frame::Frame;

/// Changes in one delta: a follower that is far behind gets several.
const CHANGES_PER_DELTA: usize = 512;

/// Weight of one delta, unless its first change alone is heavier.
const DELTA_BYTES: usize = 1 << 20;

/// Changes of owner that are remembered.
const TURNS_KEPT: usize = 16;

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBounds {
    /// At most so much, in the weight of `weight_bytes`.
    pub keep_bytes: usize,
    /// At most so much while a snapshot is on its way whose receiver will go on from there.
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
    /// Nothing: it has all there is.
    Current,
    /// This frame, and then to ask again.
    Frame(Frame),
    /// A snapshot: the history that it lacks is not kept any more, or was never this one.
    Snapshot,
    /// This owner is none any more: the follower has heard of a later epoch.
    Deposed(u64),
}

/// Where one owner's epoch ended and the next one's began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    from_epoch: u64,
    epoch: u64,
    base: u64,
}

/// The latest stretch of a pool's history.
#[derive(Debug)]
pub struct Journal {
    epoch: u64,
    /// The latest changes of owner, as far back as the changes kept reach.
    turns: VecDeque<Turn>,
    /// The number before that of the first change kept.
    start: u64,
    changes: VecDeque<Arc<Change>>,
    weight: usize,
    bounds: JournalBounds,
    pins: BTreeMap<u64, u64>,
}

impl Journal {
    /// An empty history under `epoch` that begins at `seq`.
    pub fn new(version: Version, bounds: JournalBounds) -> Self {
        let Version { epoch, seq } = version;
        Self {
            epoch,
            turns: VecDeque::new(),
            start: seq,
            changes: VecDeque::new(),
            weight: 0,
            bounds,
            pins: BTreeMap::new(),
        }
    }

    /// The version after the last change.
    pub fn head(&self) -> Version {
        Version { epoch: self.epoch, seq: self.start + self.changes.len() as u64 }
    }

    /// Mints the version of `change` and keeps it.
    pub fn push(&mut self, change: Arc<Change>) -> Version {
        self.weight += weight_bytes(&change);
        self.changes.push_back(change);
        self.trim();
        self.head()
    }

    /// A new owner goes on with this history under `epoch`. Nothing happens when the epoch is not a later one.
    pub fn turn(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.turns.push_back(Turn { from_epoch: self.epoch, epoch, base: self.head().seq });
            self.turns.drain(..self.turns.len().saturating_sub(TURNS_KEPT));
            self.epoch = epoch;
        }
    }

    /// Keeps what comes after `seq`, within bounds, until `holder` unpins: a snapshot at `seq` is on its way.
    pub fn pin(&mut self, holder: u64, seq: u64) {
        self.pins.insert(holder, seq);
    }

    /// `holder`'s snapshot has arrived, or will not.
    pub fn unpin(&mut self, holder: u64) {
        self.pins.remove(&holder);
        self.trim();
    }

    /// How many snapshots are on their way.
    pub fn pinned(&self) -> usize {
        self.pins.len()
    }

    /// The same, with no snapshot on its way.
    pub(crate) fn unpinned(mut self) -> Self {
        self.pins.clear();
        self.trim();
        self
    }

    /// What a follower that stands at `cursor` needs next.
    pub fn since(&self, cursor: Version) -> CatchUp {
        if cursor.epoch > self.epoch {
            return CatchUp::Deposed(cursor.epoch);
        }
        if self.turns.iter().any(|turn| turn.epoch == cursor.epoch && cursor.seq < turn.base) {
            return CatchUp::Snapshot;
        }
        if cursor.epoch == self.epoch {
            return self.delta_since(cursor, self.head().seq, CatchUp::Current);
        }
        match self.turns.iter().find(|turn| turn.from_epoch == cursor.epoch) {
            Some(Turn { epoch, base, .. }) => {
                let from = Version { epoch: cursor.epoch, seq: *base };
                let turn = CatchUp::Frame(Frame::EpochChange { from, epoch: *epoch });
                self.delta_since(cursor, *base, turn)
            }
            None => CatchUp::Snapshot,
        }
    }

    /// Whether a follower that stands at `version` can catch up without a snapshot.
    pub fn reaches(&self, version: Version) -> bool {
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
            weight <= DELTA_BYTES || weight == weight_bytes(change)
        };
        let changes: Vec<_> = kept.take(CHANGES_PER_DELTA).take_while(fits).cloned().collect();
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
        self.turns.retain(|turn| turn.base >= self.start);
    }
}

/// About how much memory a change takes.
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
