//! Builds the messages for the gateway.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use signalbox_protos::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use signalbox_protos::envoy::service::ext_proc::v3::body_mutation::Mutation;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse,
    ProcessingResponse, StreamedBodyResponse, TrailersResponse,
};
use signalbox_protos::envoy::r#type::v3::HttpStatus;

use crate::destination::{Destination, ResponseHeader};
use crate::error_format::{ClientError, ErrorFormat};
use crate::refusal::Refusal;

/// Maximum length of a body chunk in bytes. Gateways accept less than 64 KiB per message.
const CHUNK_BYTES: usize = 62_000;
/// Metadata namespace in which gateways look for the destination.
const METADATA_NAMESPACE: &str = "envoy.lb";
/// Metadata key of the candidates' scores.
const SCORES: &str = "x-gateway-destination-endpoint-scores";
/// Header with the reason why a request was dropped.
const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

const REQUEST_ID: &str = "x-request-id";
const CONTENT_TYPE: &str = "content-type";
const CONTENT_LENGTH: &str = "content-length";
const RETRY_AFTER: &str = "retry-after";

/// Whether a replaced body also sets the content length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentLength {
    Set,
    Unchanged,
}

/// The direction of a body.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// Whether a body ends with its last chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Last,
    More,
}

impl Ending {
    pub(crate) fn of(end_of_stream: bool) -> Self {
        if end_of_stream { Self::Last } else { Self::More }
    }
}

/// A routing decision for the gateway.
pub(crate) struct Route<'a> {
    pub(crate) destination: &'a Destination,
    /// Generated id for a request that came without one.
    pub(crate) request_id: Option<&'a str>,
    /// Request headers that must not reach the endpoint, unless this message sets them.
    pub(crate) headers_to_remove: Vec<String>,
    /// Length of the body for the endpoint, if it has to be set.
    pub(crate) body_bytes: Option<usize>,
}

impl Route<'_> {
    /// Returns the reply to the request's headers.
    pub(crate) fn into_headers_reply(self) -> ProcessingResponse {
        let metadata = self.metadata();
        let response = HeadersResponse { response: Some(self.common_response(None)) };
        ProcessingResponse {
            response: Some(Response::RequestHeaders(response)),
            dynamic_metadata: Some(metadata),
        }
    }

    /// Returns the reply to the request's body, for requests whose headers were already replied to. Replaces
    /// the body if one is given.
    pub(crate) fn into_body_reply(self, body: Option<Bytes>) -> ProcessingResponse {
        let metadata = self.metadata();
        let response = BodyResponse { response: Some(self.common_response(body.map(replacement))) };
        ProcessingResponse {
            response: Some(Response::RequestBody(response)),
            dynamic_metadata: Some(metadata),
        }
    }

    fn common_response(self, body_mutation: Option<BodyMutation>) -> CommonResponse {
        let mut set_headers = vec![header(Destination::HEADER, self.destination.as_bytes().clone())];
        if let Some(booking) = self.destination.booking() {
            set_headers.push(header(Destination::BOOKING_HEADER, booking.to_string().into()));
        }
        if let Some(id) = self.request_id {
            set_headers.push(header(REQUEST_ID, id.to_owned().into()));
        }
        if let Some(bytes) = self.body_bytes {
            set_headers.push(header(CONTENT_LENGTH, bytes.to_string().into()));
        }
        let is_set = |name: &String| {
            let keys = set_headers.iter().filter_map(|option| option.header.as_ref());
            keys.into_iter().any(|header| header.key.eq_ignore_ascii_case(name))
        };
        let mut remove_headers = self.headers_to_remove;
        remove_headers.retain(|name| !is_set(name));
        let header_mutation = Some(HeaderMutation { set_headers, remove_headers });
        CommonResponse { header_mutation, body_mutation, clear_route_cache: true }
    }

    fn metadata(&self) -> Struct {
        let text = Kind::StringValue(self.destination.as_str().to_owned());
        let mut fields = BTreeMap::from([(Destination::HEADER.to_owned(), Value { kind: Some(text) })]);
        let scores = self.destination.scores().iter();
        let scores: BTreeMap<_, _> = scores
            .map(|(address, score)| (address.to_string(), Value { kind: Some(Kind::NumberValue(*score)) }))
            .collect();
        if !scores.is_empty() {
            let scores = Kind::StructValue(Struct { fields: scores });
            fields.insert(SCORES.to_owned(), Value { kind: Some(scores) });
        }
        let fields = Kind::StructValue(Struct { fields });
        Struct { fields: BTreeMap::from([(METADATA_NAMESPACE.to_owned(), Value { kind: Some(fields) })]) }
    }
}

/// Returns a reply to headers that changes nothing.
pub(crate) fn headers(direction: Direction) -> ProcessingResponse {
    let empty = HeadersResponse { response: None };
    reply(match direction {
        Direction::Request => Response::RequestHeaders(empty),
        Direction::Response => Response::ResponseHeaders(empty),
    })
}

/// Returns a reply to the request's headers that removes some of them.
pub(crate) fn remove_request_headers(remove_headers: Vec<String>) -> ProcessingResponse {
    if remove_headers.is_empty() {
        return headers(Direction::Request);
    }
    let header_mutation = Some(HeaderMutation { set_headers: Vec::new(), remove_headers });
    let common_response = CommonResponse { header_mutation, ..CommonResponse::default() };
    reply(Response::RequestHeaders(HeadersResponse { response: Some(common_response) }))
}

/// Returns a reply to the response's headers that adds one.
pub(crate) fn add_response_header(response_header: &ResponseHeader) -> ProcessingResponse {
    let set_headers = vec![header(&response_header.name, response_header.value.clone().into())];
    let common_response = CommonResponse {
        header_mutation: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        ..CommonResponse::default()
    };
    reply(Response::ResponseHeaders(HeadersResponse { response: Some(common_response) }))
}

/// Returns `body` in chunks, without copying it. There is at least one chunk.
pub(crate) fn chunks(
    direction: Direction,
    mut body: Bytes,
    ending: Ending,
) -> impl Iterator<Item = ProcessingResponse> {
    let count = body.len().div_ceil(CHUNK_BYTES).max(1);
    (1..=count).map(move |number| {
        let chunk = StreamedBodyResponse {
            body: body.split_to(body.len().min(CHUNK_BYTES)),
            end_of_stream: number == count && ending == Ending::Last,
        };
        let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(chunk)) };
        let common_response =
            CommonResponse { header_mutation: None, body_mutation: Some(mutation), clear_route_cache: false };
        body_reply(direction, Some(common_response))
    })
}

/// Returns a reply that lets a chunk of a body pass unchanged.
pub(crate) fn pass_body(direction: Direction) -> ProcessingResponse {
    body_reply(direction, None)
}

/// Returns a reply that replaces a chunk of a body, and optionally sets the content length.
pub(crate) fn replace_body(direction: Direction, chunk: Bytes, length: ContentLength) -> ProcessingResponse {
    let content_length =
        (length == ContentLength::Set).then(|| header(CONTENT_LENGTH, chunk.len().to_string().into()));
    let header_mutation =
        content_length.map(|header| HeaderMutation { set_headers: vec![header], remove_headers: Vec::new() });
    let body_mutation = Some(replacement(chunk));
    body_reply(direction, Some(CommonResponse { header_mutation, body_mutation, clear_route_cache: false }))
}

fn replacement(body: Bytes) -> BodyMutation {
    BodyMutation { mutation: Some(Mutation::Body(body)) }
}

fn body_reply(direction: Direction, response: Option<CommonResponse>) -> ProcessingResponse {
    let response = BodyResponse { response };
    reply(match direction {
        Direction::Request => Response::RequestBody(response),
        Direction::Response => Response::ResponseBody(response),
    })
}

/// Returns a reply to trailers that changes nothing.
pub(crate) fn trailers(direction: Direction) -> ProcessingResponse {
    let empty = TrailersResponse { header_mutation: None };
    reply(match direction {
        Direction::Request => Response::RequestTrailers(empty),
        Direction::Response => Response::ResponseTrailers(empty),
    })
}

/// Returns the response for the client that replaces the endpoint's. If a retry makes sense, it asks the
/// client to wait `retry_after_s` seconds.
pub(crate) fn refuse(refusal: &Refusal, format: ErrorFormat, retry_after_s: u32) -> ProcessingResponse {
    let reason =
        refusal.dropped_reason().map(|reason| header(DROPPED_REASON, Bytes::from_static(reason.as_bytes())));
    let retry_after = refusal.retry_after_s(retry_after_s);
    let retry_after = retry_after.map(|seconds| header(RETRY_AFTER, seconds.to_string().into()));
    let error = ClientError { status: refusal.status(), code: refusal.code(), message: refusal.to_string() };
    respond(error, format, reason.into_iter().chain(retry_after))
}

/// Returns the response for the client for the case that the picker panicked and cannot choose even a random
/// endpoint.
pub(crate) fn internal_error(format: ErrorFormat) -> ProcessingResponse {
    let message = "the endpoint picker failed".to_owned();
    respond(ClientError { status: 500, code: "Internal", message }, format, None)
}

fn respond(
    error: ClientError<'_>,
    format: ErrorFormat,
    headers: impl IntoIterator<Item = HeaderValueOption>,
) -> ProcessingResponse {
    let content_type = header(CONTENT_TYPE, Bytes::from_static(format.content_type().as_bytes()));
    let set_headers = std::iter::once(content_type).chain(headers).collect();
    reply(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(error.status) }),
        headers: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        body: format.body(error),
    }))
}

fn reply(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), dynamic_metadata: None }
}

fn header(key: &str, raw_value: Bytes) -> HeaderValueOption {
    HeaderValueOption { header: Some(HeaderValue::raw(key, raw_value)) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use signalbox_types::{BookingId, ReplicaKey};

    use super::*;

    #[test]
    fn scores_are_added_to_the_metadata_only_if_set() {
        let endpoint = SocketAddr::from(([10, 0, 0, 1], 80));
        let metadata_keys = |destination: &Destination| {
            let route =
                Route { destination, request_id: None, headers_to_remove: Vec::new(), body_bytes: None };
            let metadata = route.into_headers_reply().dynamic_metadata.unwrap();
            let Some(Kind::StructValue(lb)) = metadata.fields["envoy.lb"].kind.clone() else { panic!() };
            lb.fields.into_keys().collect::<Vec<_>>()
        };
        assert_eq!([Destination::HEADER], metadata_keys(&endpoint.into())[..]);
        let scored = Destination::from(endpoint).with_scores(vec![(endpoint, 0.5)]);
        assert_eq!([Destination::HEADER, SCORES], metadata_keys(&scored)[..]);
    }

    #[test]
    fn booking_is_sent_in_a_request_header() {
        let endpoint = Destination::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        let headers = |endpoint: &Destination| {
            let route = Route {
                destination: endpoint,
                request_id: None,
                headers_to_remove: vec!["x-signalbox-booking".to_owned()],
                body_bytes: None,
            };
            let Some(Response::RequestHeaders(reply)) = route.into_headers_reply().response else { panic!() };
            let set = reply.response.unwrap().header_mutation.unwrap().set_headers;
            set.into_iter().map(|option| option.header.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(1, headers(&endpoint).len());
        let booked = headers(&endpoint.with_booking(BookingId { replica: ReplicaKey(0xa), number: 0xb }));
        assert_eq!("x-signalbox-booking", booked[1].key);
        assert_eq!("000000000000000a-000000000000000b", booked[1].raw_value);
    }
}
