//! What travels from a pool's owner to its replicas.

use std::sync::Arc;

use signalbox_prefix::Run;
use signalbox_types::{Format, Models, Origin, Version};

use crate::change::Change;
use crate::digest::Digest;
use crate::pool_state::{Diverged, EndpointState, PoolState};

/// Weight of one [`SnapshotEntry::Runs`], unless one run alone is heavier: about 60 KB on the wire.
const RUNS_WEIGHT_PER_ENTRY: usize = 60_000;

/// One part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotEntry {
    /// An endpoint.
    Endpoint(Arc<EndpointState>),
    /// Consecutive blocks of chains, and who holds them.
    Runs(Vec<Run>),
    /// A replica and the number up to which its placements are in the snapshot.
    Origin(Origin, u64),
    /// What the pool says of models; where there is none, it says nothing.
    Models(Arc<Models>),
}

/// What travels from a pool's owner to its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A snapshot of the state at this version follows.
    SnapshotBegin {
        /// The version of the snapshot.
        version: Version,
        /// What the placements in it, and all later ones, are to be read by.
        format: Format,
    },
    /// A part of the snapshot.
    SnapshotEntry(Arc<SnapshotEntry>),
    /// The snapshot is whole.
    SnapshotEnd {
        /// As in its `Init`: it ends no other snapshot.
        version: Version,
        /// How many entries it has.
        count: u64,
        /// The sums over the state it describes.
        digest: Digest,
    },
    /// The changes `from + 1` to `to`, one for each number.
    Delta {
        /// Of the owner that minted them.
        epoch: u64,
        /// The last change that a receiver must have already.
        from: u64,
        /// The last change in this frame.
        to: u64,
        /// The changes, in order.
        changes: Vec<Arc<Change>>,
    },
    /// A new owner goes on from where the one before it stopped.
    EpochChange {
        /// The last version of the owner before it.
        from: Version,
        /// Of the new owner, which begins at the same seq.
        epoch: u64,
    },
    /// A sign of life.
    Heartbeat {
        /// The owner's.
        epoch: u64,
        /// The last change that was sent on this stream.
        seq: u64,
        /// The owner's clock in milliseconds; counts from an arbitrary point.
        now_ms: u64,
        /// The sums over the state at `seq`.
        digest: Digest,
    },
}

impl Frame {
    /// Where a follower stands that stood where this frame goes on from, and took it; `None` for what moves nobody by itself.
    pub fn ends_at(&self) -> Option<Version> {
        match self {
            Self::Delta { epoch, to, .. } => Some(Version { epoch: *epoch, seq: *to }),
            Self::EpochChange { from, epoch } => Some(Version { epoch: *epoch, seq: from.seq }),
            Self::SnapshotEnd { version, .. } => Some(*version),
            Self::SnapshotBegin { .. } | Self::SnapshotEntry(_) | Self::Heartbeat { .. } => None,
        }
    }
}

/// A state cut at one version, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is the state at.
    pub version: Version,
    /// By what its placements are to be read.
    pub format: Format,
    /// The sums over the state.
    pub digest: Digest,
    /// The state.
    pub entries: Vec<Arc<SnapshotEntry>>,
}

impl Snapshot {
    /// Cuts `picture`, which is at `version`.
    pub fn cut(pool_state: &PoolState, version: Version, format: Format) -> Self {
        let endpoints = pool_state.endpoints().map(|member| SnapshotEntry::Endpoint(Arc::clone(member)));
        let origins =
            pool_state.acknowledgements().map(|(origin, number)| SnapshotEntry::Origin(origin, number));
        let runs = chunks(pool_state.residents().runs()).into_iter().map(SnapshotEntry::Runs);
        let said = Some(pool_state.models()).filter(|models| !models.is_empty());
        let models = said.map(|models| SnapshotEntry::Models(Arc::clone(models)));
        let entries = endpoints.chain(origins).chain(models).chain(runs).map(Arc::new).collect();
        Self { version, format, digest: pool_state.digest(), entries }
    }

    /// The frames by which it travels.
    pub fn frames(self: Arc<Self>) -> impl Iterator<Item = Frame> {
        let (version, format, count) = (self.version, self.format, self.entries.len());
        let done = Frame::SnapshotEnd { version, count: count as u64, digest: self.digest };
        let entries = (0..count).map(move |at| Frame::SnapshotEntry(Arc::clone(&self.entries[at])));
        std::iter::once(Frame::SnapshotBegin { version, format }).chain(entries).chain(std::iter::once(done))
    }
}

fn chunks(runs: impl Iterator<Item = Run>) -> Vec<Vec<Run>> {
    let mut chunks: Vec<Vec<Run>> = Vec::new();
    let mut weight = usize::MAX;
    for run in runs {
        let more = 32 + run.blocks.len() * 8 + run.placed.len() * 16 + run.confirmed.len() * 20;
        if weight.saturating_add(more) > RUNS_WEIGHT_PER_ENTRY {
            chunks.push(Vec::new());
            weight = 0;
        }
        weight += more;
        chunks.last_mut().expect("the first run opens a chunk").push(run);
    }
    chunks
}

/// Puts the parts of a snapshot together again.
///
/// # Errors
/// [`Diverged`] when the parts do not hang together.
pub(crate) fn assemble(entries: Vec<Arc<SnapshotEntry>>) -> Result<PoolState, Diverged> {
    let (mut endpoints, mut runs, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    let mut models = Arc::default();
    for entry in entries {
        match Arc::unwrap_or_clone(entry) {
            SnapshotEntry::Endpoint(member) => endpoints.push(Arc::unwrap_or_clone(member)),
            SnapshotEntry::Runs(more) => runs.extend(more),
            SnapshotEntry::Origin(origin, number) => origins.push((origin, number)),
            SnapshotEntry::Models(said) => models = said,
        }
    }
    PoolState::from_parts(endpoints, runs, origins, &models)
}
