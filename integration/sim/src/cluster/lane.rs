//! Where events wait for the actor of an aggregator.

/// Where an event waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The mailbox.
    Mailbox,
    /// The queue of messages with content.
    Bulk,
}
