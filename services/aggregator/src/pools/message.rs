//! Messages to a pool's actor.

use std::sync::Arc;

use ractor::{ActorRef, RpcReplyPort};
use signalbox_signal::Signal;
use signalbox_state::{
    AssignedEndpoint, ClaimResult, CollectorStream, FollowerPoll, FromFollower, ObservedOwner, PollReply,
    Report,
};
use signalbox_types::PoolSpec;
use tokio::sync::watch;

use super::message_budget::MessagePermit;

pub(crate) type PoolOwnerRef = ActorRef<PoolOwnerMessage>;

/// A collector's message.
#[derive(Debug)]
pub(crate) struct CollectorReports {
    pub(crate) stream: CollectorStream,
    /// The highest epoch that the collector has seen.
    pub(crate) epoch: u64,
    pub(crate) reports: Vec<Report>,
}

/// A message to a pool's actor, except those with content, which wait in the [bulk queue](super::bulk_queue::BulkQueue).
#[derive(Debug)]
pub(crate) enum PoolOwnerMessage {
    SpecChanged(Arc<PoolSpec>),
    CollectorJoined {
        stream: CollectorStream,
        name: String,
        /// Receives the collector's assignments. The stream ends when it is dropped.
        assignment: watch::Sender<Vec<AssignedEndpoint>>,
    },
    CollectorLeft(CollectorStream),
    /// Handle a slice of the pool's bulk queue.
    BulkQueued,
    FollowerJoined {
        follower: u64,
        name: String,
    },
    /// A follower's message, unless it is a reply to a fetch request.
    FollowerMessage {
        follower: u64,
        message: FromFollower,
        permit: MessagePermit,
    },
    /// A follower's stream has ended. Replies of it may wait in the bulk queue, so this goes there next.
    FollowerLeft(u64),
    /// A follower was up to date when its stream sent it a heartbeat.
    FollowerCaughtUp(u64),
    /// A follower's stream asks what to send next, because the published history does not tell.
    Poll(FollowerPoll, RpcReplyPort<PollReply>),
    OwnerObserved(ObservedOwner),
    ClaimAnswered(ClaimResult),
    Candidates(Vec<String>),
    /// Hand the pool to another aggregator. Answered when that is done or has taken too long.
    Drain(RpcReplyPort<()>),
    /// What the coordinator had stored of the autoscaling signal when this aggregator became the owner under `epoch`.
    StoredSignal {
        epoch: u64,
        stored: Option<Arc<Signal>>,
    },
    /// The time has come to grant places to requests that wait.
    GrantDue,
    Tick,
}
