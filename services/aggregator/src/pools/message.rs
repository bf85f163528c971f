//! Messages to a pool's actor.

use std::sync::Arc;

use ractor::{ActorRef, RpcReplyPort};
use signalbox_peers::StreamEvent;
use signalbox_state::{
    AssignedEndpoint, ClaimResult, CollectorStream, Feedback, FollowerPoll, FromFollower, ObservedOwner,
    PollReply, Report,
};
use signalbox_types::PoolSpec;
use tokio::sync::watch;

use super::feedback_replies::FeedbackReplies;
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

/// A message to a pool's actor. Messages from other processes carry a permit, which bounds the mailbox.
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
    Reports(CollectorReports, MessagePermit),
    Feedback {
        feedback: Feedback,
        replies: FeedbackReplies,
        permit: MessagePermit,
    },
    FollowerJoined {
        follower: u64,
        name: String,
    },
    FollowerMessage {
        follower: u64,
        message: FromFollower,
        permit: MessagePermit,
    },
    FollowerLeft(u64),
    /// A follower's stream asks what to send next.
    Poll(FollowerPoll, RpcReplyPort<PollReply>),
    /// An event on one of this aggregator's streams to other aggregators.
    StreamEvent(StreamEvent),
    OwnerObserved(ObservedOwner),
    ClaimAnswered(ClaimResult),
    Candidates(Vec<String>),
    /// Hand the pool to another aggregator. Answered when that is done or has taken too long.
    Drain(RpcReplyPort<()>),
    Tick,
}
