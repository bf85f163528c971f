//! The place of one request among those that wait, and how its wait ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use signalbox_admission::Behind;
use signalbox_flow::{DropReason, FlowKey, Ticket};
use tokio::sync::oneshot;

use super::Gate;

/// How the wait of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// It may go.
    Granted,
    /// It leaves without an endpoint.
    Dropped(DropReason),
}

/// The place of a request among those that wait. Dropping it gives it up. One that was granted is kept until the request is
/// booked: until then, its grant counts as unused.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    ticket: Ticket,
    ended: oneshot::Receiver<WaitEnd>,
    /// The flow of the request.
    pub(crate) flow: FlowKey,
    /// The highest priority that waited when the request arrived, and how many requests waited here.
    pub(crate) behind: Behind,
}

impl Place {
    pub(super) fn new(
        gate: Arc<Gate>,
        ticket: Ticket,
        ended: oneshot::Receiver<WaitEnd>,
        (flow, behind): (FlowKey, Behind),
    ) -> Self {
        Self { gate, ticket, ended, flow, behind }
    }

    /// Returns how the wait ends, once it has ended.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<WaitEnd> {
        let ended = ready!(Pin::new(&mut self.ended).poll(context));
        // The gate tells each request how its wait ends before it forgets it.
        Poll::Ready(ended.unwrap_or(WaitEnd::Dropped(DropReason::ShuttingDown)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.leave(self.ticket);
    }
}
