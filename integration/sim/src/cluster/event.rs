//! Defines the events of a simulation.

use signalbox_state::FeedbackRest;

use crate::cluster::coordinator::{Reply, Request};
use crate::cluster::lane::Lane;
use crate::cluster::message::{End, Payload};
use crate::plan::Node;

/// The purpose of a timer that a process has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Advances the process's time.
    Tick,
    /// Goes on with the work that the owner left unfinished.
    GoOn,
    /// Grants places to requests that wait.
    Grant,
    /// Reads the stored signal as the owner of this epoch.
    ReadSignal(u64),
    /// Sends a heartbeat to all followers.
    Heartbeat,
    /// Sends new changes to all followers.
    SendFrames,
    /// Polls for this follower again, which had to wait.
    WaitEnded(u64),
    /// Answers polls of followers that waited for the actor.
    AnswerPolls,
    /// Opens the stream to this aggregator.
    Connect(usize),
    /// Closes streams whose server does not respond.
    CheckStreams,
    /// Renews the lease.
    RenewLease,
    /// Gives up on the claim with this number.
    ClaimDeadline(u64),
    /// Sends feedback with the changed gauges.
    FlushFeedback,
    /// Sends feedback with all gauges.
    FlushAllGauges,
    /// Starts the next request.
    NextRequest,
    /// Looks after the requests that wait.
    TendWaiting,
    /// This request, which was granted a place, goes on.
    Depart(u64),
    /// The client of this request, which waited, goes away.
    ClientLeaves(u64),
    /// The stream of this request, which is to be revoked, answers it.
    Revoke(u64),
    /// The first output of this request arrives.
    FirstOutput(u64),
    /// This request ends.
    RequestEnd(u64),
    /// Scrapes the assigned model servers.
    Scrape,
    /// Leaves this stream unless it has assigned endpoints by now.
    AssignmentDeadline(u64),
    /// Exits after a drain.
    Exit,
    /// The stream of this follower has ended. Some of what it sent may wait among the messages with content.
    FollowerStreamEnded(u64),
    /// This follower has left, and all that it sent is handled.
    FollowerLeft(u64),
}

impl Timer {
    /// Returns where the event of this timer waits for an aggregator's actor.
    pub(crate) fn lane(self) -> Lane {
        match self {
            Self::GoOn | Self::FollowerLeft(_) => Lane::Bulk,
            _ => Lane::Mailbox,
        }
    }
}

impl Event {
    /// Returns the stream that a message, or a rest of one, came on.
    pub(crate) fn stream(&self) -> Option<u64> {
        match self {
            Self::Message { stream, .. } | Self::FeedbackRest { stream, .. } => Some(*stream),
            _ => None,
        }
    }
}

/// Something that happens at one point in time. Events of one run of a process name the run, because they
/// expire with it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Timer {
        node: Node,
        run: u32,
        timer: Timer,
    },
    Message {
        stream: u64,
        end: End,
        payload: Payload,
    },
    /// An aggregator goes on with what is left of a batch of feedback.
    FeedbackRest {
        node: Node,
        run: u32,
        stream: u64,
        rest: FeedbackRest,
    },
    /// A request from a process reaches the coordinator.
    CoordinatorRequest {
        node: Node,
        run: u32,
        request: Request,
    },
    /// A reply or notification from the coordinator reaches a process.
    CoordinatorReply {
        node: Node,
        run: u32,
        reply: Reply,
    },
    /// The coordinator expires leases, and ownership is checked.
    CheckLeases,
    /// An aggregator learns that the pool's pods changed.
    EndpointsChanged {
        node: Node,
        run: u32,
    },
    /// A draining pod leaves the pool if its requests have ended.
    CheckDraining(usize),
    /// A process goes on with the events that wait for it.
    Continue {
        node: Node,
        run: u32,
    },
    /// A process freezes, because it is sent a snapshot.
    Freeze {
        node: Node,
        run: u32,
    },
    FaultStart(usize),
    FaultEnd(usize),
    Start(Node),
    Heal,
}
