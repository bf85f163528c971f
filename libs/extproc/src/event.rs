//! What a conversation takes and gives.

use std::net::SocketAddr;

use signalbox_intake::Intake;
use signalbox_intake::answer::Usage;
use signalbox_protos::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use smallvec::SmallVec;

use crate::destination::Destination;
use crate::refusal::Refusal;

/// What happens to a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The gateway sent a message.
    Message(ProcessingRequest),
    /// The gateway sent a message that is too long to be taken. Nothing else will come.
    Overlong,
    /// The answer to [`Action::Pick`].
    Picked(Result<Destination, Refusal>),
}

/// What the shell is to do or to know, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Decide where this request shall go. Always the last action of a step.
    Pick(Intake),
    /// Send this to the gateway.
    Reply(ProcessingResponse),
    /// So many headers by which the request steers made no sense and count for nothing.
    Ignored {
        /// How many.
        controls: u32,
    },
    /// Reading the request's body panicked. What follows is decided without it.
    Panicked,
    /// The gateway says that this endpoint serves the request.
    Served(SocketAddr),
    /// The response's headers passed.
    ResponseStarted {
        /// The HTTP status, where it can be read.
        status: Option<u16>,
    },
    /// The first bytes of the response's body passed: the prompt is processed. Not told where the gateway's mode
    /// hides the response's body.
    FirstChunk,
    /// What the response said of tokens. At most once, before its end is told.
    Usage(Usage),
    /// The end of the response passed. At most once.
    ResponseEnded,
    /// End the stream, with status OK. Comes after a refusal only, as the last action of all.
    Close,
}

/// The actions of one step.
pub type Actions = SmallVec<[Action; 2]>;

/// What became of a request, as far as its conversation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was never sent to an endpoint.
    Unpicked,
    /// It was refused; [`crate::Conversation::refusal`] tells why. It was never sent to an endpoint either.
    Refused,
    /// The end of the response was seen.
    Complete,
    /// The stream broke off before the end of the response.
    Aborted,
    /// The stream is over, and the gateway's mode may not show how the response goes on: it may last.
    Hidden,
}
