//! Defines the messages between processes and the streams that carry them.

use signalbox_state::{AssignedEndpoint, Feedback, FromAggregator, FromFollower, Report};
use signalbox_types::Origin;

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
    NeedChain(u64),
    OriginExpired(Origin),
    Join(String),
    Reports(u64, Vec<Report>),
    Assignments(u64, Vec<AssignedEndpoint>),
}

impl Payload {
    /// Returns whether [`Mode::Datagrams`](crate::plan::Mode::Datagrams) may lose, duplicate or reorder this
    /// message.
    pub(crate) fn is_datagram(&self) -> bool {
        matches!(self, Self::FromAggregator(_) | Self::FromFollower(_) | Self::Feedback(_))
    }
}
