//! The inputs of a role.

use std::sync::Arc;

use signalbox_types::PoolSpec;

use crate::ownership::election::{ClaimResult, ObservedOwner};
use crate::pool::PoolInput;
use crate::replication::{FollowerEvent, FromFollower};

/// What a role must handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleInput {
    /// The specification of the pool: its endpoints, objectives and model rewrites.
    Spec(Arc<PoolSpec>),
    /// An input for the owner, from a collector or a replica. An aggregator that does not own the pool
    /// ignores it.
    Pool(PoolInput),
    /// A peer knows this epoch.
    EpochHeard(u64),
    /// An event on this aggregator's stream to another aggregator, numbered by its reader.
    PeerEvent(u64, FollowerEvent),
    /// A follower with this name connected on this stream.
    FollowerJoined(u64, String),
    /// A follower sent a message on this stream.
    FollowerMessage(u64, FromFollower),
    /// A follower was up to date when its stream sent it a heartbeat.
    FollowerCaughtUp(u64),
    /// A follower's stream ended.
    FollowerLeft(u64),
    /// The coordinator reported the pool's owner.
    OwnerObserved(ObservedOwner),
    /// The coordinator answered a claim.
    ClaimAnswered(ClaimResult),
    /// The names of the live aggregators.
    Candidates(Vec<String>),
    /// Time has passed; sent about every 50 ms.
    Tick,
    /// This aggregator is shutting down and must hand the pool to another.
    Drain,
}
