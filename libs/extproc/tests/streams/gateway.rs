//! A fake gateway: builds its messages and interprets the replies.

use std::net::SocketAddr;

use bytes::Bytes;
use prost_types::value::Kind;
use signalbox_extproc::{Action, Config, Conversation, Destination, Event, FirstOutput, Refusal};
use signalbox_intake::ParsedRequest;
use signalbox_intake::response::Usage;
use signalbox_protos::envoy::config::core::v3::HeaderMap;
use signalbox_protos::envoy::service::ext_proc::v3::body_mutation::Mutation;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    BodyResponse, BodySendMode, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, HttpHeaders,
    HttpTrailers, ImmediateResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
    TrailersResponse,
};
use signalbox_types::ResponseKey;

pub(crate) const ENDPOINT: &str = "10.0.0.1:8000";
pub(crate) const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/completions")];
pub(crate) const BODY: &str = r#"{"model":"llama3","prompt":"hello"}"#;

/// Determines the generated request id and the target of a model rewrite.
const RANDOM_BITS: u128 = 7;
/// The request id that [`RANDOM_BITS`] gives.
pub(crate) const GENERATED_ID: &str = "00000000-0000-4000-8000-000000000007";

/// An action of the conversation; a reply is reduced to its effect on the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Observed {
    /// The reply to the headers sends the request to this destination.
    Routed(Routed),
    /// The reply to the body sends the request to this destination, and may replace the body.
    RoutedWithBody(Routed, Option<Bytes>),
    /// Headers stay unchanged.
    RequestHeaders,
    ResponseHeaders,
    /// These headers are removed from the request.
    RequestHeadersWithout(Vec<String>),
    /// This header is added to the response.
    ResponseHeaderAdded(String, Bytes),
    RequestChunk(Bytes, bool),
    ResponseChunk(Bytes, bool),
    /// A chunk passes without being sent back.
    ResponsePassed,
    /// The chunk is replaced, and the content length is set if there is one here.
    ResponseReplaced(Bytes, Option<String>),
    RequestPassed,
    RequestTrailers,
    ResponseTrailers,
    /// The client gets this response.
    Refused {
        status: i32,
        /// Code and message of OpenAI's error, or type and message of Anthropic's; or the body of any other.
        body: String,
        reason: Option<String>,
        retry_after: Option<String>,
    },
    /// The other actions of the conversation.
    Pick(Box<ParsedRequest>),
    ControlHeadersIgnored(u32),
    Panicked,
    ServedBy(SocketAddr),
    ResponseStored(ResponseKey),
    ResponseDeleted(ResponseKey),
    Usage(Usage),
    ResponseStarted(Option<u16>),
    FirstOutput(FirstOutput),
    ErrorReported(Option<u16>),
    ResponseEnded,
    Close,
}

/// The route of a request that has an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Routed {
    pub(crate) destination: String,
    pub(crate) content_length: Option<String>,
    /// The generated request id.
    pub(crate) request_id: Option<String>,
    pub(crate) removed: Vec<String>,
}

pub(crate) struct Gateway {
    pub(crate) conversation: Conversation,
    pick: Result<Destination, Refusal>,
}

impl Gateway {
    /// Returns a gateway whose picks all return [`ENDPOINT`].
    pub(crate) fn new() -> Self {
        Self::with(Config::default(), Ok(ENDPOINT.parse::<SocketAddr>().unwrap().into()))
    }

    pub(crate) fn with(config: Config, pick: Result<Destination, Refusal>) -> Self {
        Self { conversation: Conversation::new(config, RANDOM_BITS), pick }
    }

    /// Sends a message, picks if asked to, and returns everything that was observed.
    pub(crate) fn send(&mut self, message: ProcessingRequest) -> Vec<Observed> {
        let mut observed = self.step(Event::Message(message));
        if matches!(observed.last(), Some(Observed::Pick(_))) {
            observed.extend(self.step(Event::Picked(self.pick.clone())));
        }
        observed
    }

    pub(crate) fn step(&mut self, event: Event) -> Vec<Observed> {
        let actions = self.conversation.step(event);
        let picks = actions.iter().position(|action| matches!(action, Action::Pick(_)));
        assert!(picks.is_none_or(|at| at + 1 == actions.len()), "the pick is not the last action");
        actions.into_iter().map(observe).collect()
    }
}

/// Returns the messages of a request with its body in one message.
pub(crate) fn request(headers: &[(&str, &str)], body: &str) -> [ProcessingRequest; 2] {
    [request_headers(headers, false), request_body(body, true)]
}

pub(crate) fn request_headers(headers: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    ProcessingRequest::from(Request::RequestHeaders(HttpHeaders {
        headers: Some(map(headers)),
        end_of_stream,
    }))
}

pub(crate) fn response_headers(status: &str, end_of_stream: bool) -> ProcessingRequest {
    let headers = Some(map(&[(":status", status), ("content-type", "text/event-stream")]));
    ProcessingRequest::from(Request::ResponseHeaders(HttpHeaders { headers, end_of_stream }))
}

pub(crate) fn response_headers_of(headers: &[(&str, &str)]) -> ProcessingRequest {
    let headers = Some(map(headers));
    ProcessingRequest::from(Request::ResponseHeaders(HttpHeaders { headers, end_of_stream: false }))
}

pub(crate) fn request_body(body: impl Into<Vec<u8>>, end_of_stream: bool) -> ProcessingRequest {
    ProcessingRequest::from(Request::RequestBody(HttpBody { body: body.into().into(), end_of_stream }))
}

pub(crate) fn response_body(body: impl Into<Vec<u8>>, end_of_stream: bool) -> ProcessingRequest {
    ProcessingRequest::from(Request::ResponseBody(HttpBody { body: body.into().into(), end_of_stream }))
}

pub(crate) fn request_trailers() -> ProcessingRequest {
    ProcessingRequest::from(Request::RequestTrailers(HttpTrailers { trailers: None }))
}

pub(crate) fn response_trailers() -> ProcessingRequest {
    ProcessingRequest::from(Request::ResponseTrailers(HttpTrailers { trailers: None }))
}

pub(crate) fn empty_message() -> ProcessingRequest {
    ProcessingRequest::default()
}

/// Returns the message with an announcement of the body modes.
pub(crate) fn with_body_modes(
    message: ProcessingRequest,
    request: BodySendMode,
    response: BodySendMode,
) -> ProcessingRequest {
    let config =
        ProtocolConfiguration { request_body_mode: request.into(), response_body_mode: response.into() };
    ProcessingRequest { protocol_config: Some(config), ..message }
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    headers.iter().copied().collect()
}

fn observe(action: Action) -> Observed {
    match action {
        Action::Pick(parsed) => Observed::Pick(Box::new(parsed)),
        Action::Reply(reply) => observe_reply(reply),
        Action::ControlHeadersIgnored { count } => Observed::ControlHeadersIgnored(count),
        Action::Panicked => Observed::Panicked,
        Action::ServedBy(address) => Observed::ServedBy(address),
        Action::ResponseStored(response) => Observed::ResponseStored(response),
        Action::ResponseDeleted(response) => Observed::ResponseDeleted(response),
        Action::Usage(usage) => Observed::Usage(usage),
        Action::ResponseStarted { status } => Observed::ResponseStarted(status),
        Action::FirstOutput(output) => Observed::FirstOutput(output),
        Action::ErrorReported { status } => Observed::ErrorReported(status),
        Action::ResponseEnded => Observed::ResponseEnded,
        Action::Close => Observed::Close,
    }
}

fn observe_reply(reply: ProcessingResponse) -> Observed {
    let metadata = reply.dynamic_metadata;
    let routed = match &reply.response {
        Some(Response::RequestHeaders(headers)) => {
            headers.response.as_ref().is_some_and(|common| common.clear_route_cache)
        }
        Some(Response::RequestBody(body)) => {
            body.response.as_ref().is_some_and(|common| common.clear_route_cache)
        }
        _ => false,
    };
    assert_eq!(metadata.is_some(), routed, "only a destination comes with metadata");
    match reply.response.expect("a reply has a response") {
        Response::RequestHeaders(HeadersResponse { response: None }) => Observed::RequestHeaders,
        Response::RequestHeaders(response) if !routed => {
            let mutation = response.response.unwrap().header_mutation.unwrap();
            assert_eq!(mutation.set_headers, []);
            Observed::RequestHeadersWithout(mutation.remove_headers)
        }
        Response::RequestHeaders(response) => {
            let common = response.response.unwrap();
            assert_eq!(common.body_mutation, None);
            Observed::Routed(parse_route(common.header_mutation.unwrap(), &metadata.unwrap()))
        }
        Response::ResponseHeaders(response) => {
            let Some(common) = response.response else { return Observed::ResponseHeaders };
            assert!(common.body_mutation.is_none() && !common.clear_route_cache);
            let mutation = common.header_mutation.unwrap();
            assert_eq!((mutation.set_headers.len(), mutation.remove_headers.len()), (1, 0));
            let header = mutation.set_headers[0].header.clone().unwrap();
            Observed::ResponseHeaderAdded(header.key, header.raw_value)
        }
        Response::RequestBody(BodyResponse { response: None }) => Observed::RequestPassed,
        Response::RequestBody(response) if routed => {
            let common = response.response.unwrap();
            let body = common.body_mutation.map(|mutation| match mutation.mutation {
                Some(Mutation::Body(body)) => body,
                other => panic!("not a whole body: {other:?}"),
            });
            Observed::RoutedWithBody(parse_route(common.header_mutation.unwrap(), &metadata.unwrap()), body)
        }
        Response::RequestBody(response) => {
            let (body, end) = parse_chunk(response.response.unwrap());
            Observed::RequestChunk(body, end)
        }
        Response::ResponseBody(BodyResponse { response: None }) => Observed::ResponsePassed,
        Response::ResponseBody(response) => observe_response_body(response.response.unwrap()),
        Response::RequestTrailers(trailers) => {
            assert_eq!(trailers, TrailersResponse::default());
            Observed::RequestTrailers
        }
        Response::ResponseTrailers(trailers) => {
            assert_eq!(trailers, TrailersResponse::default());
            Observed::ResponseTrailers
        }
        Response::ImmediateResponse(response) => observe_refusal(response),
    }
}

fn parse_route(mutation: HeaderMutation, metadata: &prost_types::Struct) -> Routed {
    let mut routed = Routed { removed: mutation.remove_headers, ..Routed::default() };
    for option in mutation.set_headers {
        let header = option.header.unwrap();
        assert_eq!(header.value, "", "only raw values");
        let value = String::from_utf8(header.raw_value.to_vec()).unwrap();
        match header.key.as_str() {
            "x-gateway-destination-endpoint" => routed.destination = value,
            "content-length" => routed.content_length = Some(value),
            "x-request-id" => routed.request_id = Some(value),
            other => panic!("{other} is set"),
        }
    }
    let Some(Kind::StructValue(lb)) = &metadata.fields["envoy.lb"].kind else { panic!("{metadata:?}") };
    let value = &lb.fields["x-gateway-destination-endpoint"].kind;
    assert_eq!(value, &Some(Kind::StringValue(routed.destination.clone())));
    assert_eq!((metadata.fields.len(), lb.fields.len()), (1, 1));
    routed
}

fn parse_chunk(common: CommonResponse) -> (Bytes, bool) {
    assert!(common.header_mutation.is_none() && !common.clear_route_cache);
    match common.body_mutation.unwrap().mutation.unwrap() {
        Mutation::StreamedResponse(chunk) => (chunk.body, chunk.end_of_stream),
        other => panic!("not a streamed response: {other:?}"),
    }
}

fn observe_response_body(common: CommonResponse) -> Observed {
    if let Some(Mutation::Body(body)) = common.body_mutation.as_ref().and_then(|body| body.mutation.clone()) {
        let length = common.header_mutation.map(|mutation| {
            let header = mutation.set_headers[0].header.clone().unwrap();
            assert_eq!((header.key.as_str(), mutation.set_headers.len()), ("content-length", 1));
            String::from_utf8(header.raw_value.to_vec()).unwrap()
        });
        return Observed::ResponseReplaced(body, length);
    }
    let (body, end) = parse_chunk(common);
    Observed::ResponseChunk(body, end)
}

fn observe_refusal(response: ImmediateResponse) -> Observed {
    let (mut reason, mut retry_after, mut content_type) = (None, None, None);
    for option in response.headers.unwrap_or_default().set_headers {
        let header = option.header.unwrap();
        let value = String::from_utf8(header.raw_value.to_vec()).unwrap();
        match header.key.as_str() {
            "x-llm-d-request-dropped-reason" => reason = Some(value),
            "retry-after" => retry_after = Some(value),
            "content-type" => content_type = Some(value),
            other => panic!("{other} is set"),
        }
    }
    let body = match content_type.as_deref() {
        Some("application/json") => error_text(&serde_json::from_slice(&response.body).unwrap()),
        Some("text/plain") => String::from_utf8(response.body.to_vec()).unwrap(),
        other => panic!("content type {other:?}"),
    };
    Observed::Refused { status: response.status.unwrap().code, body, reason, retry_after }
}

fn error_text(body: &serde_json::Value) -> String {
    let error = &body["error"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let name = match body.get("type") {
        Some(kind) => {
            assert_eq!("error", kind);
            &error["type"]
        }
        None => {
            assert!(error["type"].is_string() && error["param"].is_null(), "{body}");
            &error["code"]
        }
    };
    format!("{} - {}", text(name), text(&error["message"]))
}
