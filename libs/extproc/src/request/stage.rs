//! The stages of a request.

use crate::body::budget::BodyReservation;
use crate::body::buffer::BodyBuffer;
use crate::refusal::Refusal;
use crate::request::complete::CompleteRequest;

/// How much of a request has arrived.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Nothing yet. A stream may begin with the response.
    #[default]
    Awaited,
    /// The headers; the body is arriving in chunks.
    Receiving(BodyBuffer, BodyReservation),
    /// The headers, which the picker replied to; the body will arrive in a single message.
    AwaitingBody(BodyReservation),
    /// Everything that the gateway sends. An endpoint is being picked, or the request waits for one.
    Complete(CompleteRequest),
    /// It was sent to an endpoint. Its body counts against the budget until the gateway has received all of
    /// it.
    Sent { _reservation: Option<BodyReservation> },
    /// The gateway responded by itself before the request had a destination.
    AnsweredByGateway,
    /// It was refused.
    Refused(Refusal),
}
