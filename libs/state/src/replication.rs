//! How a pool's state is replicated from its owner to its followers.

mod changes;
mod follower;
mod follower_messages;
mod frame;
mod history;
mod journal;
mod journaled_replica;
mod lateness;
mod snapshot;
mod snapshot_capture;
mod snapshot_pace;
mod state_replica;

pub use self::changes::{Changes, Chunk};
pub(crate) use self::follower::FetchProgress;
pub use self::follower::Follower;
pub(crate) use self::follower_messages::Offer;
pub use self::follower_messages::{
    Cursor, FollowerEffect, FollowerEvent, FromAggregator, FromFollower, HeardOwner,
};
pub use self::frame::{Frame, SnapshotEntry};
pub use self::history::{CatchUp, SharedHistory};
pub use self::journal::{Journal, JournalBounds};
pub use self::journaled_replica::JournaledReplica;
pub(crate) use self::lateness::Lateness;
pub use self::snapshot::Snapshot;
pub use self::snapshot_capture::SnapshotCapture;
pub use self::snapshot_pace::{CursorUse, SnapshotPace};
pub use self::state_replica::{ApplyOutcome, FrameSource, Gap, StateReplica};
