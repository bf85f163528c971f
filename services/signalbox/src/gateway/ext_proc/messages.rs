//! Converts between ext-proc messages and the types of this gateway. No other module uses the message types
//! directly.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, request, response};
use prost_types::value::Kind;
use signalbox_protos::envoy::config::core::v3::{HeaderMap as WireHeaders, HeaderValue as WireHeader};
use signalbox_protos::envoy::service::ext_proc::v3 as wire;
use wire::body_mutation::Mutation as BodyChange;
use wire::processing_request::Request as RequestMessage;
use wire::processing_response::Response as ResponseMessage;

use crate::gateway::body::Chunk;
use crate::gateway::headers::{DESTINATION, IllegalHeader, Mutation, strip_hop_by_hop};

/// Metadata namespace of the endpoint picker protocol.
const METADATA_NAMESPACE: &str = "envoy.lb";

pub(crate) use wire::ProcessingRequest as ToPicker;
pub(crate) use wire::ProcessingResponse as FromPicker;

/// A message from a picker.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Changes to the request headers, and the destination from the metadata.
    RequestHeaders { mutation: Mutation, destination: Option<String> },
    /// A chunk of the request body.
    RequestBody(Chunk),
    /// Changes to the response headers.
    ResponseHeaders(Mutation),
    /// A chunk of the response body.
    ResponseBody(Chunk),
    /// A response from the picker itself to the client.
    Immediate(Response<Bytes>),
    /// A message without relevance for this gateway.
    Other,
}

/// Returns the first message of a stream. `is_last` says that no body follows.
pub(crate) fn request_headers(head: &request::Parts, is_last: bool) -> ToPicker {
    let authority = match head.uri.authority() {
        Some(authority) => Bytes::copy_from_slice(authority.as_str().as_bytes()),
        None => head.headers.get(http::header::HOST).map(copied).unwrap_or_default(),
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = vec![
        header(":method", Bytes::copy_from_slice(head.method.as_str().as_bytes())),
        header(":scheme", Bytes::from_static(b"http")),
        header(":authority", authority),
        header(":path", Bytes::copy_from_slice(path.as_bytes())),
    ];
    let mut forwarded = head.headers.clone();
    strip_hop_by_hop(&mut forwarded);
    // Sent as `:authority`.
    forwarded.remove(http::header::HOST);
    headers.extend(wire_headers(&forwarded));
    let modes = wire::ProtocolConfiguration {
        request_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
        response_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
    };
    let request = RequestMessage::RequestHeaders(http_headers(headers, is_last));
    ToPicker { protocol_config: Some(modes), ..message(request) }
}

/// Returns the message with the head of the endpoint's response. `is_last` says that no body follows.
pub(crate) fn response_headers(head: &response::Parts, is_last: bool) -> ToPicker {
    let mut headers = vec![header(":status", Bytes::copy_from_slice(head.status.as_str().as_bytes()))];
    let mut forwarded = head.headers.clone();
    strip_hop_by_hop(&mut forwarded);
    headers.extend(wire_headers(&forwarded));
    message(RequestMessage::ResponseHeaders(http_headers(headers, is_last)))
}

/// Returns the message with a chunk of the request body.
pub(crate) fn request_body(chunk: Chunk) -> ToPicker {
    message(RequestMessage::RequestBody(wire::HttpBody { body: chunk.bytes, end_of_stream: chunk.is_last }))
}

/// Returns the message with a chunk of the response body.
pub(crate) fn response_body(chunk: Chunk) -> ToPicker {
    message(RequestMessage::ResponseBody(wire::HttpBody { body: chunk.bytes, end_of_stream: chunk.is_last }))
}

/// Converts a message from a picker.
///
/// # Errors
/// When the message sets a header that HTTP does not allow.
pub(crate) fn parse(message: FromPicker) -> Result<Reply, IllegalHeader> {
    let destination = message.dynamic_metadata.and_then(destination);
    Ok(match message.response {
        Some(ResponseMessage::RequestHeaders(answer)) => Reply::RequestHeaders {
            mutation: mutation(answer.response.and_then(|c| c.header_mutation))?,
            destination,
        },
        Some(ResponseMessage::ResponseHeaders(answer)) => {
            Reply::ResponseHeaders(mutation(answer.response.and_then(|common| common.header_mutation))?)
        }
        Some(ResponseMessage::RequestBody(answer)) => {
            echoed_chunk(answer).map_or(Reply::Other, Reply::RequestBody)
        }
        Some(ResponseMessage::ResponseBody(answer)) => {
            echoed_chunk(answer).map_or(Reply::Other, Reply::ResponseBody)
        }
        Some(ResponseMessage::ImmediateResponse(answer)) => Reply::Immediate(immediate(answer)?),
        Some(ResponseMessage::RequestTrailers(_) | ResponseMessage::ResponseTrailers(_)) | None => {
            Reply::Other
        }
    })
}

fn message(request: RequestMessage) -> ToPicker {
    ToPicker { request: Some(request), ..ToPicker::default() }
}

fn http_headers(headers: Vec<WireHeader>, is_last: bool) -> wire::HttpHeaders {
    wire::HttpHeaders { headers: Some(WireHeaders { headers }), end_of_stream: is_last }
}

fn header(key: &str, raw_value: Bytes) -> WireHeader {
    WireHeader { key: key.to_owned(), raw_value, ..WireHeader::default() }
}

fn wire_headers(headers: &HeaderMap) -> impl Iterator<Item = WireHeader> {
    headers.iter().map(|(name, value)| header(name.as_str(), copied(value)))
}

fn copied(value: &http::HeaderValue) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

fn mutation(changes: Option<wire::HeaderMutation>) -> Result<Mutation, IllegalHeader> {
    let changes = changes.unwrap_or_default();
    let set = changes.set_headers.into_iter().filter_map(|option| option.header).map(|header| {
        let value = if header.raw_value.is_empty() { header.value.into() } else { header.raw_value };
        (header.key, value)
    });
    Mutation::new(changes.remove_headers, set)
}

/// Returns the echoed chunk. In full duplex mode, bodies come back in `streamed_response` only.
fn echoed_chunk(answer: wire::BodyResponse) -> Option<Chunk> {
    match answer.response?.body_mutation?.mutation? {
        BodyChange::StreamedResponse(part) => Some(Chunk { bytes: part.body, is_last: part.end_of_stream }),
        BodyChange::Body(_) | BodyChange::ClearBody(_) => None,
    }
}

fn immediate(answer: wire::ImmediateResponse) -> Result<Response<Bytes>, IllegalHeader> {
    let code = answer.status.map_or(0, |status| status.code);
    let mut response = Response::new(answer.body);
    // As in Envoy, an invalid status becomes 200.
    *response.status_mut() = u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| !status.is_informational())
        .unwrap_or_default();
    mutation(answer.headers)?.apply(response.headers_mut());
    // The length follows from the body; the picker may have set a wrong one.
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    Ok(response)
}

fn destination(metadata: prost_types::Struct) -> Option<String> {
    let namespace = metadata.fields.into_iter().find(|(key, _)| key == METADATA_NAMESPACE)?.1;
    let Some(Kind::StructValue(mut values)) = namespace.kind else { return None };
    match values.fields.remove(DESTINATION)?.kind {
        Some(Kind::StringValue(endpoint)) => Some(endpoint),
        _ => None,
    }
}
