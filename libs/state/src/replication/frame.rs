//! The messages by which a pool's state gets from its owner to followers.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_prefix::Run;
use signalbox_signal::Signal;
use signalbox_types::{
    EndpointKey, Format, Load, ModelKey, Models, Origin, ResponseKey, TokenRatio, Version,
};

use super::changes::Changes;
use crate::pool_state::{Digest, EndpointState, FlowPart};

/// One part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotEntry {
    /// The state of an endpoint, and the load that each replica put on it.
    Endpoint(Arc<EndpointState>, Vec<(Origin, Load)>),
    /// Runs of consecutive blocks, and the endpoints that hold them.
    Runs(Vec<Run>),
    /// An origin, and the number up to which the snapshot contains its placements.
    Origin(Origin, u64),
    /// The objectives and model rewrites. A snapshot without this entry has none.
    Models(Arc<Models>),
    /// The token ratios that were learned. A snapshot without this entry has none.
    TokenRatios(Arc<BTreeMap<ModelKey, TokenRatio>>),
    /// Stored responses, and the endpoints that keep them. A snapshot without such entries has none.
    StoredResponses(Vec<Arc<BTreeMap<ResponseKey, EndpointKey>>>),
    /// The state is provisional since this epoch. A snapshot without this entry is final.
    ProvisionalSince(u64),
    /// A part of the flow table. A snapshot without such entries has an empty one.
    Flow(FlowPart),
    /// The last autoscaling signal. A snapshot without this entry has none.
    Signal(Arc<Signal>),
}

/// A message from the owner to its followers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Starts a snapshot.
    SnapshotBegin {
        /// The version of the snapshot.
        version: Version,
        /// The format of the placements in the snapshot and of all later ones.
        format: Format,
    },
    /// A part of the snapshot.
    SnapshotEntry(Arc<SnapshotEntry>),
    /// Completes the snapshot.
    SnapshotEnd {
        /// The version in the [`Self::SnapshotBegin`] of this snapshot; it completes no other.
        version: Version,
        /// The number of entries.
        count: u64,
        /// The checksums over the state that the snapshot describes.
        digest: Digest,
    },
    /// The changes `from + 1` to `to`.
    Delta {
        /// The epoch of the owner that created the changes.
        epoch: u64,
        /// The number of the last change that a receiver must have applied before.
        from: u64,
        /// The number of the last change in this frame.
        to: u64,
        /// The changes, in order.
        changes: Changes,
    },
    /// A new owner continues the history of the owner before it.
    EpochChange {
        /// The last version of the owner before it.
        from: Version,
        /// The epoch of the new owner, which starts at the same `seq`.
        epoch: u64,
    },
    /// Shows that the owner is alive.
    Heartbeat {
        /// The owner's epoch.
        epoch: u64,
        /// The number of the last change that was sent on this stream; of the owner's last change if the follower waits
        /// for a snapshot.
        seq: u64,
        /// The owner's clock in milliseconds, from an arbitrary starting point.
        now_ms: u64,
        /// The checksums over the state at `seq`.
        digest: Digest,
    },
}

impl Frame {
    /// Returns the highest epoch in this frame; `None` for parts of snapshots.
    pub(crate) fn highest_epoch(&self) -> Option<u64> {
        match self {
            Self::SnapshotBegin { version, .. } | Self::SnapshotEnd { version, .. } => Some(version.epoch),
            Self::Delta { epoch, .. } | Self::Heartbeat { epoch, .. } => Some(*epoch),
            Self::EpochChange { from, epoch } => Some(from.epoch.max(*epoch)),
            Self::SnapshotEntry(_) => None,
        }
    }

    /// Returns the version of a follower after it applied this frame; `None` for frames that do not change
    /// the version on their own.
    pub fn ends_at(&self) -> Option<Version> {
        match self {
            Self::Delta { epoch, to, .. } => Some(Version { epoch: *epoch, seq: *to }),
            Self::EpochChange { from, epoch } => Some(Version { epoch: *epoch, seq: from.seq }),
            Self::SnapshotEnd { version, .. } => Some(*version),
            Self::SnapshotBegin { .. } | Self::SnapshotEntry(_) | Self::Heartbeat { .. } => None,
        }
    }
}
