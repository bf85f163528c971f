//! The inputs and outputs of a conversation.

use std::net::SocketAddr;

use signalbox_intake::ParsedRequest;
use signalbox_intake::response::Usage;
use signalbox_protos::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use signalbox_types::ResponseKey;
use smallvec::SmallVec;

use crate::destination::Destination;
use crate::refusal::Refusal;

/// An input of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The gateway sent a message.
    Message(ProcessingRequest),
    /// The gateway sent a message that exceeds the size limit. It is the last event.
    MessageTooLong,
    /// The result of [`Action::Pick`].
    Picked(Result<Destination, Refusal>),
    /// The request is to give up its place at its endpoint, for this reason. Without effect unless
    /// [`crate::Conversation::can_be_revoked`].
    Revoked(Refusal),
}

/// An output of a conversation: something to do or to record.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Pick an endpoint for this request. Always the last action of a step. The result may follow later: until then the
    /// conversation keeps the body and takes other events, unless [`crate::Conversation::holds_body_back`].
    Pick(ParsedRequest),
    /// Send this message to the gateway.
    Reply(ProcessingResponse),
    /// Control headers of the request had invalid values and were ignored.
    ControlHeadersIgnored {
        /// Number of these headers.
        count: u32,
    },
    /// Processing the request or the response panicked. The conversation continues without the affected
    /// information.
    Panicked,
    /// The gateway reported that this endpoint serves the request.
    ServedBy(SocketAddr),
    /// The response's headers arrived.
    ResponseStarted {
        /// HTTP status, if it is readable.
        status: Option<u16>,
    },
    /// The first output of a successful response arrived, so the prompt is processed. At most once, and not
    /// at all if the response's status tells a failure or its body is hidden or has no output.
    FirstOutput(FirstOutput),
    /// The body of a successful response reports an error. At most once; it may follow output.
    ErrorReported {
        /// HTTP status that the response would have had, if the error tells it.
        status: Option<u16>,
    },
    /// The endpoint keeps the response, which has this id, for clients that name it again. At most once.
    ResponseStored(ResponseKey),
    /// The endpoint has deleted this response, as the request asked. At most once.
    ResponseDeleted(ResponseKey),
    /// The usage that the response reported. At most once, before [`Action::ResponseEnded`].
    Usage(Usage),
    /// The end of the response arrived. At most once.
    ResponseEnded,
    /// End the stream with status OK. Only after a refusal, as the last action of all.
    Close,
}

/// What the first output of a response says about the time at which the prompt was processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOutput {
    /// It arrived in a stream: the prompt was processed shortly before.
    Streamed,
    /// It arrived together with all other output: the prompt was processed some time before.
    Whole,
    /// The body or the status cannot be read, so it may not even be output. It tells nothing about a time.
    Unread,
}

/// The actions of one step.
pub type Actions = SmallVec<[Action; 2]>;

/// The outcome of a request, as far as its conversation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request was not sent to an endpoint.
    NotSent,
    /// The request was refused, or revoked before its response began; see [`crate::Conversation::refusal`].
    Refused,
    /// The response ended.
    Complete,
    /// The stream ended before the response did.
    Aborted,
    /// The stream ended, but the gateway's mode may hide the rest of the response, which may still be in
    /// progress.
    Hidden,
}
