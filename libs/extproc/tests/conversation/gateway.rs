//! The gateway's side of a conversation: its messages, and what it makes of the answers.

use std::net::SocketAddr;

use bytes::Bytes;
use prost_types::value::Kind;
use signalbox_extproc::{Action, Config, Conversation, Destination, Event, Refusal};
use signalbox_intake::Intake;
use signalbox_intake::answer::Usage;
use signalbox_protos::envoy::config::core::v3::HeaderMap;
use signalbox_protos::envoy::service::ext_proc::v3::body_mutation::Mutation;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    BodyResponse, BodySendMode, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, HttpHeaders,
    HttpTrailers, ImmediateResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
    TrailersResponse,
};

pub(crate) const ENDPOINT: &str = "10.0.0.1:8000";
pub(crate) const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/completions")];
pub(crate) const BODY: &str = r#"{"model":"llama3","prompt":"hello"}"#;

/// By which ids are made and targets chosen.
const CHANCE: u128 = 7;
/// The id that is made by it.
pub(crate) const MADE_ID: &str = "00000000-0000-4000-8000-000000000007";

/// An answer, reduced to what a gateway does with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    /// The request goes to this destination.
    Routed(Routed),
    /// The same, told with the answer to the body, in whose place another one comes where there is one.
    RoutedWithBody(Routed, Option<Bytes>),
    /// Headers stay as they are.
    RequestHeaders,
    ResponseHeaders,
    /// The request goes without these headers.
    RequestHeadersWithout(Vec<String>),
    /// The response's headers get this one.
    Announced(String, Bytes),
    RequestChunk(Bytes, bool),
    ResponseChunk(Bytes, bool),
    /// A chunk passes without being sent back.
    ResponseNod,
    /// Another body comes in its place, and its length is told where that is needed.
    ResponseBody(Bytes, Option<String>),
    RequestNod,
    RequestTrailers,
    ResponseTrailers,
    /// The client gets this instead.
    Immediate {
        status: i32,
        body: String,
        reason: Option<String>,
        retry_after: Option<String>,
    },
    /// What the shell is told.
    Picking(Box<Intake>),
    Ignored(u32),
    Panicked,
    Served(SocketAddr),
    Usage(Usage),
    Started(Option<u16>),
    FirstChunk,
    Ended,
    Close,
}

/// What a gateway is told of a request that has an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Routed {
    pub(crate) destination: String,
    pub(crate) content_length: Option<String>,
    /// The id that the request is given.
    pub(crate) request_id: Option<String>,
    pub(crate) removed: Vec<String>,
}

pub(crate) struct Gateway {
    pub(crate) conversation: Conversation,
    pick: Result<Destination, Refusal>,
}

impl Gateway {
    /// One whose every pick is [`ENDPOINT`].
    pub(crate) fn new() -> Self {
        Self::with(Config::default(), Ok(ENDPOINT.parse::<SocketAddr>().unwrap().into()))
    }

    pub(crate) fn with(config: Config, pick: Result<Destination, Refusal>) -> Self {
        Self { conversation: Conversation::new(config, CHANCE), pick }
    }

    /// Says it, picks if asked to, returns all that came of it.
    pub(crate) fn say(&mut self, message: ProcessingRequest) -> Vec<Seen> {
        let mut seen = self.step(Event::Message(message));
        if matches!(seen.last(), Some(Seen::Picking(_))) {
            seen.extend(self.step(Event::Picked(self.pick.clone())));
        }
        seen
    }

    pub(crate) fn step(&mut self, event: Event) -> Vec<Seen> {
        let actions = self.conversation.step(event);
        let picks = actions.iter().position(|action| matches!(action, Action::Pick(_)));
        assert!(picks.is_none_or(|at| at + 1 == actions.len()), "a pick is the last action");
        actions.into_iter().map(seen).collect()
    }
}

/// A body in one message each way, nothing else.
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

pub(crate) fn nothing() -> ProcessingRequest {
    ProcessingRequest::default()
}

/// The same message, with which the gateway tells its modes.
pub(crate) fn telling(
    message: ProcessingRequest,
    request: BodySendMode,
    response: BodySendMode,
) -> ProcessingRequest {
    let told =
        ProtocolConfiguration { request_body_mode: request.into(), response_body_mode: response.into() };
    ProcessingRequest { protocol_config: Some(told), ..message }
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    headers.iter().copied().collect()
}

fn seen(action: Action) -> Seen {
    match action {
        Action::Pick(intake) => Seen::Picking(Box::new(intake)),
        Action::Reply(reply) => read(reply),
        Action::Ignored { controls } => Seen::Ignored(controls),
        Action::Panicked => Seen::Panicked,
        Action::Served(address) => Seen::Served(address),
        Action::Usage(usage) => Seen::Usage(usage),
        Action::ResponseStarted { status } => Seen::Started(status),
        Action::FirstChunk => Seen::FirstChunk,
        Action::ResponseEnded => Seen::Ended,
        Action::Close => Seen::Close,
    }
}

fn read(reply: ProcessingResponse) -> Seen {
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
    assert_eq!(metadata.is_some(), routed, "metadata comes with the destination only");
    match reply.response.expect("an answer says something") {
        Response::RequestHeaders(HeadersResponse { response: None }) => Seen::RequestHeaders,
        Response::RequestHeaders(response) if !routed => {
            let mutation = response.response.unwrap().header_mutation.unwrap();
            assert_eq!(mutation.set_headers, []);
            Seen::RequestHeadersWithout(mutation.remove_headers)
        }
        Response::RequestHeaders(response) => {
            let common = response.response.unwrap();
            assert_eq!(common.body_mutation, None);
            Seen::Routed(read_route(common.header_mutation.unwrap(), &metadata.unwrap()))
        }
        Response::ResponseHeaders(response) => {
            let Some(common) = response.response else { return Seen::ResponseHeaders };
            assert!(common.body_mutation.is_none() && !common.clear_route_cache);
            let mutation = common.header_mutation.unwrap();
            assert_eq!((mutation.set_headers.len(), mutation.remove_headers.len()), (1, 0));
            let header = mutation.set_headers[0].header.clone().unwrap();
            Seen::Announced(header.key, header.raw_value)
        }
        Response::RequestBody(BodyResponse { response: None }) => Seen::RequestNod,
        Response::RequestBody(response) if routed => {
            let common = response.response.unwrap();
            let body = common.body_mutation.map(|mutation| match mutation.mutation {
                Some(Mutation::Body(body)) => body,
                other => panic!("no whole body: {other:?}"),
            });
            Seen::RoutedWithBody(read_route(common.header_mutation.unwrap(), &metadata.unwrap()), body)
        }
        Response::RequestBody(response) => {
            let (body, end) = read_chunk(response.response.unwrap());
            Seen::RequestChunk(body, end)
        }
        Response::ResponseBody(BodyResponse { response: None }) => Seen::ResponseNod,
        Response::ResponseBody(response) => read_response_body(response.response.unwrap()),
        Response::RequestTrailers(trailers) => {
            assert_eq!(trailers, TrailersResponse::default());
            Seen::RequestTrailers
        }
        Response::ResponseTrailers(trailers) => {
            assert_eq!(trailers, TrailersResponse::default());
            Seen::ResponseTrailers
        }
        Response::ImmediateResponse(response) => read_immediate(response),
    }
}

fn read_route(mutation: HeaderMutation, metadata: &prost_types::Struct) -> Routed {
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

fn read_chunk(common: CommonResponse) -> (Bytes, bool) {
    assert!(common.header_mutation.is_none() && !common.clear_route_cache);
    match common.body_mutation.unwrap().mutation.unwrap() {
        Mutation::StreamedResponse(chunk) => (chunk.body, chunk.end_of_stream),
        other => panic!("no streamed response: {other:?}"),
    }
}

fn read_response_body(common: CommonResponse) -> Seen {
    if let Some(Mutation::Body(body)) = common.body_mutation.as_ref().and_then(|body| body.mutation.clone()) {
        let length = common.header_mutation.map(|mutation| {
            let header = mutation.set_headers[0].header.clone().unwrap();
            assert_eq!((header.key.as_str(), mutation.set_headers.len()), ("content-length", 1));
            String::from_utf8(header.raw_value.to_vec()).unwrap()
        });
        return Seen::ResponseBody(body, length);
    }
    let (body, end) = read_chunk(common);
    Seen::ResponseChunk(body, end)
}

fn read_immediate(response: ImmediateResponse) -> Seen {
    let (mut reason, mut retry_after) = (None, None);
    for option in response.headers.unwrap_or_default().set_headers {
        let header = option.header.unwrap();
        let value = String::from_utf8(header.raw_value.to_vec()).unwrap();
        match header.key.as_str() {
            "x-llm-d-request-dropped-reason" => reason = Some(value),
            "retry-after" => retry_after = Some(value),
            other => panic!("{other} is set"),
        }
    }
    let body = String::from_utf8(response.body.to_vec()).unwrap();
    Seen::Immediate { status: response.status.unwrap().code, body, reason, retry_after }
}
