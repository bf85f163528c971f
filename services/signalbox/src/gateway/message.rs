//! The ext-proc messages of a gateway, to and from what this gateway works with. Nothing else here names them.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, request, response};
use prost_types::value::Kind;
use signalbox_protos::envoy::config::core::v3::{HeaderMap as WireHeaders, HeaderValue as WireHeader};
use signalbox_protos::envoy::service::ext_proc::v3 as wire;
use wire::body_mutation::Mutation as BodyChange;
use wire::processing_request::Request as Asked;
use wire::processing_response::Response as Answered;

use super::chunks::Piece;
use super::headers::{DESTINATION, IllegalHeader, Mutation, strip_hop_by_hop};

/// The metadata namespace of the endpoint picker protocol.
const METADATA_NAMESPACE: &str = "envoy.lb";

pub(super) use wire::ProcessingRequest as ToPicker;
pub(super) use wire::ProcessingResponse as FromPicker;

/// What a picker said.
#[derive(Debug)]
pub(super) enum Reply {
    /// Changes to the request's headers, and the destination as the metadata names it.
    RequestHeaders { mutation: Mutation, destination: Option<String> },
    /// A part of the request's body.
    RequestBody(Piece),
    /// Changes to the response's headers.
    ResponseHeaders(Mutation),
    /// A part of the response's body.
    ResponseBody(Piece),
    /// The response to the client, from the picker itself.
    Immediate(Response<Bytes>),
    /// Nothing that matters here.
    Nothing,
}

/// The first message of a stream. `ends`: no body follows.
pub(super) fn request_headers(head: &request::Parts, ends: bool) -> ToPicker {
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
    // Said as `:authority`.
    forwarded.remove(http::header::HOST);
    headers.extend(wire_headers(&forwarded));
    let modes = wire::ProtocolConfiguration {
        request_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
        response_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
    };
    let asked = Asked::RequestHeaders(http_headers(headers, ends));
    ToPicker { protocol_config: Some(modes), ..message(asked) }
}

/// The head of the upstream's response. `ends`: no body follows.
pub(super) fn response_headers(head: &response::Parts, ends: bool) -> ToPicker {
    let mut headers = vec![header(":status", Bytes::copy_from_slice(head.status.as_str().as_bytes()))];
    let mut forwarded = head.headers.clone();
    strip_hop_by_hop(&mut forwarded);
    headers.extend(wire_headers(&forwarded));
    message(Asked::ResponseHeaders(http_headers(headers, ends)))
}

/// A part of the client's body.
pub(super) fn request_body(piece: Piece) -> ToPicker {
    message(Asked::RequestBody(wire::HttpBody { body: piece.bytes, end_of_stream: piece.ends }))
}

/// A part of the upstream's body.
pub(super) fn response_body(piece: Piece) -> ToPicker {
    message(Asked::ResponseBody(wire::HttpBody { body: piece.bytes, end_of_stream: piece.ends }))
}

/// Reads a picker's message.
///
/// # Errors
/// When it sets a header that HTTP does not allow.
pub(super) fn read(message: FromPicker) -> Result<Reply, IllegalHeader> {
    let destination = message.dynamic_metadata.and_then(destination);
    Ok(match message.response {
        Some(Answered::RequestHeaders(answer)) => Reply::RequestHeaders {
            mutation: mutation(answer.response.and_then(|c| c.header_mutation))?,
            destination,
        },
        Some(Answered::ResponseHeaders(answer)) => {
            Reply::ResponseHeaders(mutation(answer.response.and_then(|common| common.header_mutation))?)
        }
        Some(Answered::RequestBody(answer)) => echoed(answer).map_or(Reply::Nothing, Reply::RequestBody),
        Some(Answered::ResponseBody(answer)) => echoed(answer).map_or(Reply::Nothing, Reply::ResponseBody),
        Some(Answered::ImmediateResponse(answer)) => Reply::Immediate(immediate(answer)?),
        Some(Answered::RequestTrailers(_) | Answered::ResponseTrailers(_)) | None => Reply::Nothing,
    })
}

fn message(asked: Asked) -> ToPicker {
    ToPicker { request: Some(asked), ..ToPicker::default() }
}

fn http_headers(headers: Vec<WireHeader>, ends: bool) -> wire::HttpHeaders {
    wire::HttpHeaders { headers: Some(WireHeaders { headers }), end_of_stream: ends }
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

/// In full duplex mode a body comes back by `streamed_response` only.
fn echoed(answer: wire::BodyResponse) -> Option<Piece> {
    match answer.response?.body_mutation?.mutation? {
        BodyChange::StreamedResponse(part) => Some(Piece { bytes: part.body, ends: part.end_of_stream }),
        BodyChange::Body(_) | BodyChange::ClearBody(_) => None,
    }
}

fn immediate(answer: wire::ImmediateResponse) -> Result<Response<Bytes>, IllegalHeader> {
    let code = answer.status.map_or(0, |status| status.code);
    let mut response = Response::new(answer.body);
    // As Envoy: a status that is none is 200.
    *response.status_mut() = u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| !status.is_informational())
        .unwrap_or_default();
    mutation(answer.headers)?.apply(response.headers_mut());
    // The body's own length is the only true one.
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
