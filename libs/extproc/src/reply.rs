//! The messages that a gateway gets.

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

use crate::destination::{Announcement, Destination};
use crate::refusal::Refusal;

/// The longest chunk of a body that is sent, in bytes: gateways want less than 64 KiB a message.
const CHUNK_BYTES: usize = 62_000;
/// Where gateways look for the destination in the metadata.
const METADATA_NAMESPACE: &str = "envoy.lb";
/// And how good each candidate was.
const SCORES: &str = "x-gateway-destination-endpoint-scores";
/// The header that says why a request was dropped.
const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

const REQUEST_ID: &str = "x-request-id";
const CONTENT_LENGTH: &str = "content-length";
const RETRY_AFTER: &str = "retry-after";

/// Whether the headers are told how long a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Told,
    Untold,
}

/// Which body a chunk belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// Whether a body ends with its last chunk, or something follows.
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

/// What a gateway is told of a request that has an endpoint.
pub(crate) struct Route<'a> {
    pub(crate) destination: &'a Destination,
    /// An id that the request did not come with.
    pub(crate) request_id: Option<&'a str>,
    /// Headers of the request that must not reach the endpoint, unless they are set here.
    pub(crate) ending_here: Vec<String>,
    /// Length of the body that goes to the endpoint, where the gateway has to be told.
    pub(crate) body_bytes: Option<usize>,
}

impl Route<'_> {
    /// The answer to the request's headers.
    pub(crate) fn with_headers(self) -> ProcessingResponse {
        let metadata = self.metadata();
        let response = HeadersResponse { response: Some(self.common(None)) };
        ProcessingResponse {
            response: Some(Response::RequestHeaders(response)),
            dynamic_metadata: Some(metadata),
        }
    }

    /// The answer to the request's body, whose headers were answered before; with another body, if there is one.
    pub(crate) fn with_body(self, body: Option<Bytes>) -> ProcessingResponse {
        let metadata = self.metadata();
        let response = BodyResponse { response: Some(self.common(body.map(replacement))) };
        ProcessingResponse {
            response: Some(Response::RequestBody(response)),
            dynamic_metadata: Some(metadata),
        }
    }

    fn common(self, body_mutation: Option<BodyMutation>) -> CommonResponse {
        let mut set_headers = vec![header(Destination::KEY, self.destination.as_bytes().clone())];
        if let Some(booking) = self.destination.booking() {
            set_headers.push(header(Destination::BOOKING, booking.to_string().into()));
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
        let mut remove_headers = self.ending_here;
        remove_headers.retain(|name| !is_set(name));
        let header_mutation = Some(HeaderMutation { set_headers, remove_headers });
        CommonResponse { header_mutation, body_mutation, clear_route_cache: true }
    }

    fn metadata(&self) -> Struct {
        let text = Kind::StringValue(self.destination.as_str().to_owned());
        let mut fields = BTreeMap::from([(Destination::KEY.to_owned(), Value { kind: Some(text) })]);
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

/// An answer to headers that changes nothing.
pub(crate) fn headers(direction: Direction) -> ProcessingResponse {
    let empty = HeadersResponse { response: None };
    plain(match direction {
        Direction::Request => Response::RequestHeaders(empty),
        Direction::Response => Response::ResponseHeaders(empty),
    })
}

/// An answer to the request's headers that removes some.
pub(crate) fn without(remove_headers: Vec<String>) -> ProcessingResponse {
    if remove_headers.is_empty() {
        return headers(Direction::Request);
    }
    let header_mutation = Some(HeaderMutation { set_headers: Vec::new(), remove_headers });
    let common = CommonResponse { header_mutation, ..CommonResponse::default() };
    plain(Response::RequestHeaders(HeadersResponse { response: Some(common) }))
}

/// An answer to the response's headers that adds one.
pub(crate) fn announce(announcement: &Announcement) -> ProcessingResponse {
    let set_headers = vec![header(&announcement.header, announcement.value.clone().into())];
    let common = CommonResponse {
        header_mutation: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        ..CommonResponse::default()
    };
    plain(Response::ResponseHeaders(HeadersResponse { response: Some(common) }))
}

/// A body, or a part of it, in chunks that are slices of it. There is at least one.
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
        let common =
            CommonResponse { header_mutation: None, body_mutation: Some(mutation), clear_route_cache: false };
        body_of(direction, Some(common))
    })
}

/// An answer that lets a chunk of a body pass where none is to be sent back.
pub(crate) fn nod(direction: Direction) -> ProcessingResponse {
    body_of(direction, None)
}

/// An answer that puts another body in the place of a chunk; of a whole body, the headers are told the length.
pub(crate) fn another_body(direction: Direction, chunk: Bytes, length: Length) -> ProcessingResponse {
    let told = (length == Length::Told).then(|| header(CONTENT_LENGTH, chunk.len().to_string().into()));
    let header_mutation =
        told.map(|header| HeaderMutation { set_headers: vec![header], remove_headers: Vec::new() });
    let body_mutation = Some(replacement(chunk));
    body_of(direction, Some(CommonResponse { header_mutation, body_mutation, clear_route_cache: false }))
}

fn replacement(body: Bytes) -> BodyMutation {
    BodyMutation { mutation: Some(Mutation::Body(body)) }
}

fn body_of(direction: Direction, response: Option<CommonResponse>) -> ProcessingResponse {
    let response = BodyResponse { response };
    plain(match direction {
        Direction::Request => Response::RequestBody(response),
        Direction::Response => Response::ResponseBody(response),
    })
}

/// An answer to trailers that changes nothing.
pub(crate) fn trailers(direction: Direction) -> ProcessingResponse {
    let empty = TrailersResponse { header_mutation: None };
    plain(match direction {
        Direction::Request => Response::RequestTrailers(empty),
        Direction::Response => Response::ResponseTrailers(empty),
    })
}

/// The answer that the client gets instead of an endpoint's; where it shall come again, after so many seconds.
pub(crate) fn refused(refusal: &Refusal, retry_after_s: u32) -> ProcessingResponse {
    let reason =
        refusal.dropped_reason().map(|reason| header(DROPPED_REASON, Bytes::from_static(reason.as_bytes())));
    let again = refusal.may_come_again().then(|| header(RETRY_AFTER, retry_after_s.to_string().into()));
    let set_headers: Vec<_> = reason.into_iter().chain(again).collect();
    let headers = HeaderMutation { set_headers, remove_headers: Vec::new() };
    plain(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(refusal.status()) }),
        headers: (!headers.set_headers.is_empty()).then_some(headers),
        body: format!("inference error: {} - {refusal}", refusal.code()).into(),
    }))
}

/// The answer that the client gets when the picker itself is at fault, and cannot even choose by chance.
pub fn fault() -> ProcessingResponse {
    plain(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: 500 }),
        headers: None,
        body: Bytes::from_static(b"inference error: Internal - the endpoint picker is at fault"),
    }))
}

fn plain(response: Response) -> ProcessingResponse {
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
    fn scores_stand_beside_the_destination_where_they_are_wanted() {
        let endpoint = SocketAddr::from(([10, 0, 0, 1], 80));
        let told = |destination: &Destination| {
            let route = Route { destination, request_id: None, ending_here: Vec::new(), body_bytes: None };
            let metadata = route.with_headers().dynamic_metadata.unwrap();
            let Some(Kind::StructValue(lb)) = metadata.fields["envoy.lb"].kind.clone() else { panic!() };
            lb.fields.into_keys().collect::<Vec<_>>()
        };
        assert_eq!([Destination::KEY], told(&endpoint.into())[..]);
        let scored = Destination::from(endpoint).scored(vec![(endpoint, 0.5)]);
        assert_eq!([Destination::KEY, SCORES], told(&scored)[..]);
    }

    #[test]
    fn a_booking_is_named_in_a_header_of_the_request() {
        let endpoint = Destination::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        let headers = |endpoint: &Destination| {
            let route = Route {
                destination: endpoint,
                request_id: None,
                ending_here: vec!["x-signalbox-booking".to_owned()],
                body_bytes: None,
            };
            let Some(Response::RequestHeaders(told)) = route.with_headers().response else { panic!() };
            let set = told.response.unwrap().header_mutation.unwrap().set_headers;
            set.into_iter().map(|option| option.header.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(1, headers(&endpoint).len());
        let told = headers(&endpoint.booked(BookingId { replica: ReplicaKey(0xa), number: 0xb }));
        assert_eq!("x-signalbox-booking", told[1].key);
        assert_eq!("000000000000000a-000000000000000b", told[1].raw_value);
    }
}
