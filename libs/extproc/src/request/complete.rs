//! Sends complete requests to their destination.

use bytes::Bytes;
use signalbox_intake::replace_model;
use smallvec::smallvec;

use crate::body::budget::BodyReservation;
use crate::destination::Destination;
use crate::event::{Action, Actions};
use crate::headers::request::RequestHeaders;
use crate::panic_guard::{GuardedStep, Panicked, catch_panic};
use crate::reply::{self, Direction, Ending, Route};
use crate::response::ExpectedResponse;

/// A request for which an endpoint is being picked.
#[derive(Debug)]
pub(crate) struct CompleteRequest {
    pub(crate) body: Bytes,
    pub(crate) reservation: BodyReservation,
    pub(crate) end: CompletedAt,
    /// Range of the model's name in the body, and the name to put there.
    pub(crate) model_edit: Option<(std::ops::Range<usize>, String)>,
    pub(crate) expected: ExpectedResponse,
}

/// Where a request is complete. The reply with the destination depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompletedAt {
    /// At its headers, or the gateway waits for the reply to the headers.
    Headers,
    /// At its headers. The body follows and is sent back as it comes.
    HeadersBeforeBody,
    /// At the last chunk of its body.
    Body,
    /// At its trailers.
    Trailers,
    /// At a body in a single message.
    SingleMessage,
    /// At the first part of a body whose rest goes to the endpoint unseen. If the part cannot be parsed, the
    /// request is routed by load.
    PartialBody,
}

/// A request that has a destination.
pub(crate) struct SentRequest {
    pub(crate) actions: Actions,
    /// The share of its body in the budget, until the gateway has received the body.
    pub(crate) reservation: BodyReservation,
    pub(crate) expected: ExpectedResponse,
}

impl CompleteRequest {
    /// Builds the replies with the destination and, if needed, the body.
    pub(crate) fn send(self, destination: &Destination, request_headers: &mut RequestHeaders) -> SentRequest {
        let Self { body, mut reservation, end, model_edit, expected } = self;
        let mut actions = Actions::new();
        let edited_body = model_edit.and_then(|(span, model)| {
            let edited_body =
                catch_panic(GuardedStep::RequestModel, || replace_model(expected.api, &body, &span, &model));
            edited_body.inspect_err(|Panicked| actions.push(Action::Panicked)).ok()
        });
        if let Some(edited_body) = &edited_body {
            // The body as it came is dropped below. A share that shrinks exceeds nothing.
            let _ = reservation.resize(edited_body.len());
        }
        let headers_to_remove = std::mem::take(&mut request_headers.controls.headers_to_remove);
        let route = Route {
            destination,
            request_id: request_headers.generated_id(),
            headers_to_remove,
            body_bytes: None,
        };
        actions.extend(match end {
            CompletedAt::Headers => smallvec![Action::Reply(route.into_headers_reply())],
            CompletedAt::HeadersBeforeBody => {
                let announced_bytes = request_headers.content_length_bytes;
                let body_bytes = announced_bytes.and_then(|bytes| usize::try_from(bytes).ok());
                smallvec![Action::Reply(Route { body_bytes, ..route }.into_headers_reply())]
            }
            CompletedAt::SingleMessage => {
                let body_bytes = edited_body.as_ref().map(Bytes::len);
                smallvec![Action::Reply(Route { body_bytes, ..route }.into_body_reply(edited_body))]
            }
            // The length of the whole body is unknown.
            CompletedAt::PartialBody => smallvec![Action::Reply(route.into_body_reply(edited_body))],
            CompletedAt::Body => route_and_body(route, edited_body.unwrap_or(body), Ending::Last),
            CompletedAt::Trailers => {
                let mut actions = route_and_body(route, edited_body.unwrap_or(body), Ending::More);
                actions.push(Action::Reply(reply::trailers(Direction::Request)));
                actions
            }
        });
        SentRequest { actions, reservation, expected }
    }
}

/// Returns the route followed by the body.
fn route_and_body(route: Route<'_>, body: Bytes, ending: Ending) -> Actions {
    let body_bytes = (!body.is_empty()).then_some(body.len());
    let mut actions: Actions = smallvec![Action::Reply(Route { body_bytes, ..route }.into_headers_reply())];
    // An empty chunk is needed only to carry the end of the body.
    if ending == Ending::Last || !body.is_empty() {
        actions.extend(reply::chunks(Direction::Request, body, ending).map(Action::Reply));
    }
    actions
}
