//! Defines the messages between processes and the streams that carry them.

use signalbox_state::{AssignedEndpoint, Feedback, FeedbackReply, FromAggregator, FromFollower, Report};

use crate::cluster::lane::Lane;

/// The purpose of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StreamKind {
    /// A follower receives frames.
    Subscribe,
    /// A replica sends feedback.
    Feed,
    /// A collector sends reports.
    Collect,
}

/// One end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    /// Returns the opposite end.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The content of a message.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Tells the client that the stream is open.
    Opened,
    /// Tells one end that the other end is gone.
    Closed,
    FromAggregator(FromAggregator),
    FromFollower(FromFollower),
    Feedback(Feedback),
    FeedbackReply(FeedbackReply),
    Join(String),
    Reports(u64, Vec<Report>),
    Assignments(u64, Vec<AssignedEndpoint>),
}

impl Payload {
    /// Returns where a message on a stream of this kind waits for an aggregator's actor, which is at this end.
    pub(crate) fn lane(&self, kind: StreamKind, end: End) -> Lane {
        match (kind, end, self) {
            // What another aggregator sends, and what has content. A stream of feedback ends after what it has sent.
            (StreamKind::Subscribe, End::Client, _)
            | (StreamKind::Subscribe, End::Server, Self::FromFollower(FromFollower::FetchReply(_)))
            | (StreamKind::Feed, _, _)
            | (StreamKind::Collect, _, Self::Reports(..)) => Lane::Bulk,
            (StreamKind::Subscribe | StreamKind::Collect, _, _) => Lane::Mailbox,
        }
    }

    /// Returns whether [`Mode::Datagrams`](crate::plan::Mode::Datagrams) may lose, duplicate or reorder this
    /// message.
    pub(crate) fn is_datagram(&self) -> bool {
        matches!(self, Self::FromAggregator(_) | Self::FromFollower(_) | Self::Feedback(_))
    }
}
