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
/// The header that says why a request was dropped.
const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

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

/// The answer to the request's headers: where it goes, and how long its body is.
pub(crate) fn destination(destination: &Destination, body_bytes: usize) -> ProcessingResponse {
    let mut set_headers = Vec::with_capacity(3);
    set_headers.push(header(Destination::KEY, destination.as_bytes().clone()));
    if let Some(booking) = destination.booking() {
        set_headers.push(header(Destination::BOOKING, booking.to_string().into()));
    }
    if body_bytes > 0 {
        set_headers.push(header("content-length", body_bytes.to_string().into()));
    }
    let common = CommonResponse {
        header_mutation: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        body_mutation: None,
        clear_route_cache: true,
    };
    ProcessingResponse {
        response: Some(Response::RequestHeaders(HeadersResponse { response: Some(common) })),
        dynamic_metadata: Some(nested(METADATA_NAMESPACE, Destination::KEY, destination.as_str())),
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
        let response = BodyResponse { response: Some(common) };
        plain(match direction {
            Direction::Request => Response::RequestBody(response),
            Direction::Response => Response::ResponseBody(response),
        })
    })
}

/// An answer that lets a chunk of the response's body pass where none is to be sent back.
pub(crate) fn nod() -> ProcessingResponse {
    plain(Response::ResponseBody(BodyResponse { response: None }))
}

/// An answer to trailers that changes nothing.
pub(crate) fn trailers(direction: Direction) -> ProcessingResponse {
    let empty = TrailersResponse { header_mutation: None };
    plain(match direction {
        Direction::Request => Response::RequestTrailers(empty),
        Direction::Response => Response::ResponseTrailers(empty),
    })
}

/// The answer that the client gets instead of an endpoint's.
pub(crate) fn refused(refusal: &Refusal) -> ProcessingResponse {
    let headers = refusal.dropped_reason().map(|reason| HeaderMutation {
        set_headers: vec![header(DROPPED_REASON, Bytes::from_static(reason.as_bytes()))],
        remove_headers: Vec::new(),
    });
    plain(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(refusal.status()) }),
        headers,
        body: format!("inference error: {} - {refusal}", refusal.code()).into(),
    }))
}

fn plain(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), dynamic_metadata: None }
}

// Only `raw_value`: a gateway that reads raw values refuses a mutation that has both.
fn header(key: &str, raw_value: Bytes) -> HeaderValueOption {
    let header = HeaderValue { key: key.to_owned(), value: String::new(), raw_value };
    HeaderValueOption { header: Some(header) }
}

fn nested(namespace: &str, key: &str, text: &str) -> Struct {
    let text = Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let inner = Struct { fields: BTreeMap::from([(key.to_owned(), text)]) };
    let inner = Value { kind: Some(Kind::StructValue(inner)) };
    Struct { fields: BTreeMap::from([(namespace.to_owned(), inner)]) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use signalbox_types::{BookingId, ReplicaKey};

    use super::*;

    #[test]
    fn a_booking_is_named_in_a_header_of_the_request() {
        let endpoint = Destination::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        let headers = |endpoint: &Destination| {
            let Some(Response::RequestHeaders(told)) = destination(endpoint, 0).response else { panic!() };
            let set = told.response.unwrap().header_mutation.unwrap().set_headers;
            set.into_iter().map(|option| option.header.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(1, headers(&endpoint).len());
        let told = headers(&endpoint.booked(BookingId { replica: ReplicaKey(0xa), number: 0xb }));
        assert_eq!("x-signalbox-booking", told[1].key);
        assert_eq!("000000000000000a-000000000000000b", told[1].raw_value);
    }
}
