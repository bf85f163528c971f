//! The stages of a request.

use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;

use crate::body::budget::BodyReservation;
use crate::body::buffer::BodyBuffer;
use crate::refusal::Refusal;
use crate::request::complete::{CompleteRequest, CompletedAt};

/// How much of a request has arrived.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    /// Nothing yet. A stream may begin with the response.
    #[default]
    Awaited,
    /// The headers; the body is arriving in chunks.
    Receiving(BodyBuffer, BodyReservation),
    /// The headers, which the picker replied to; the body will arrive in a single message.
    AwaitingBody(BodyReservation),
    /// Everything that the picker reads. An endpoint is being picked, or the request waits for one.
    Complete(CompleteRequest),
    /// It was sent to an endpoint. Its body counts against the budget until the gateway has received all of
    /// it.
    Sent { _reservation: Option<BodyReservation> },
    /// The gateway responded by itself before the request had a destination.
    AnsweredByGateway,
    /// It was refused, or revoked.
    Refused(Refusal),
}

impl Stage {
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// Returns the length of the body in bytes if the request is complete, and neither has a destination nor was refused or
    /// answered by the gateway.
    pub(crate) fn waiting_bytes(&self) -> Option<usize> {
        match self {
            Self::Complete(complete) => Some(complete.body.len()),
            _ => None,
        }
    }

    /// Returns the length of the body that `message` completes; 0 if it completes none.
    pub(crate) fn bytes_completed_by(&self, message: &Message) -> usize {
        match (message, self) {
            (Message::RequestBody(last), Self::Receiving(body, _)) if last.end_of_stream => {
                body.len_bytes() + last.body.len()
            }
            (Message::RequestBody(whole), Self::AwaitingBody(_)) => whole.body.len(),
            (Message::RequestTrailers(_), Self::Receiving(body, _)) => body.len_bytes(),
            _ => 0,
        }
    }

    /// Returns whether an endpoint is being picked for a request whose body is to be sent back as it comes.
    pub(crate) fn holds_body_back(&self) -> bool {
        matches!(self, Self::Complete(complete) if complete.end == CompletedAt::HeadersBeforeBody)
    }
}
