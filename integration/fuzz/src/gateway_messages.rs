//! Fuzzes the ext-proc conversation with a gateway.

use std::net::SocketAddr;

use prost::Message as _;
use signalbox_extproc::{Action, BodyBudget, Config, Conversation, Event};
use signalbox_protos::envoy::config::core::v3::HeaderMap;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProtocolConfiguration,
};

/// Decodes the data as length-delimited messages of one stream until one is invalid. No sequence of messages
/// may break the conversation, and no body may stay buffered after it.
pub(crate) fn run(mut data: &[u8]) {
    let body_budget = BodyBudget::new(1 << 20);
    let config = Config { body_limit_bytes: 1 << 16, body_budget: body_budget.clone(), ..Config::default() };
    let mut conversation = Conversation::new(config, 7);
    let mut is_over = false;
    while let Ok(message) = ProcessingRequest::decode_length_delimited(&mut data) {
        let mut actions = conversation.step(Event::Message(message));
        if matches!(actions.last(), Some(Action::Pick(_))) {
            let endpoint = SocketAddr::from(([10, 0, 0, 1], 80)).into();
            actions = conversation.step(Event::Picked(Ok(endpoint)));
        }
        assert!(!is_over || actions.is_empty(), "the conversation continues after a refusal");
        is_over |= actions.contains(&Action::Close);
        let is_refused = conversation.refusal().is_some();
        assert_eq!(is_over, is_refused, "a stream is closed without a refusal, or not closed after one");
        conversation.outcome();
    }
    drop(conversation);
    assert_eq!(0, body_budget.held_bytes(), "bodies stay buffered after the conversation");
}

/// Returns complete conversations.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let body = br#"{"model":"m","prompt":"hello"}"#;
    let events = b"data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":3}}\n\n";
    let plain = vec![
        headers(&[(":method", "POST"), (":path", "/v1/completions"), ("x-request-id", "a")], false),
        request_body(&body[..10], false),
        request_body(&body[10..], true),
        response_headers(&[(":status", "200"), ("content-type", "text/event-stream")]),
        response_body(&events[..9], false),
        response_body(&events[9..], true),
    ];
    let steered = vec![
        headers(
            &[(":path", "/v1/completions"), ("x-llm-d-model-name-rewrite", "tuned"), ("x-slo-ttft-ms", "1")],
            false,
        ),
        request_body(body, false),
        ProcessingRequest {
            request: Some(Request::RequestTrailers(HttpTrailers { trailers: None })),
            ..ProcessingRequest::default()
        },
        response_headers(&[(":status", "200"), ("content-type", "application/json")]),
        response_body(br#"{"model":"tuned"}"#, false),
        ProcessingRequest {
            request: Some(Request::ResponseTrailers(HttpTrailers { trailers: None })),
            ..ProcessingRequest::default()
        },
    ];
    let in_mode = |mode: i32| {
        let config = ProtocolConfiguration { request_body_mode: mode, response_body_mode: mode };
        let mut messages = plain.clone();
        messages[0].protocol_config = Some(config);
        messages
    };
    let all = [plain.clone(), steered, vec![headers(&[(":method", "GET")], true)]].into_iter();
    all.chain((0..6).map(in_mode)).map(|messages| encoded(&messages)).collect()
}

fn encoded(messages: &[ProcessingRequest]) -> Vec<u8> {
    messages.iter().flat_map(ProcessingRequest::encode_length_delimited_to_vec).collect()
}

fn map(headers: &[(&str, &str)]) -> Option<HeaderMap> {
    Some(headers.iter().copied().collect())
}

fn headers(list: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    ProcessingRequest::from(Request::RequestHeaders(HttpHeaders { headers: map(list), end_of_stream }))
}

fn response_headers(list: &[(&str, &str)]) -> ProcessingRequest {
    ProcessingRequest::from(Request::ResponseHeaders(HttpHeaders {
        headers: map(list),
        end_of_stream: false,
    }))
}

fn request_body(body: &[u8], end_of_stream: bool) -> ProcessingRequest {
    ProcessingRequest::from(Request::RequestBody(HttpBody { body: body.to_vec().into(), end_of_stream }))
}

fn response_body(body: &[u8], end_of_stream: bool) -> ProcessingRequest {
    ProcessingRequest::from(Request::ResponseBody(HttpBody { body: body.to_vec().into(), end_of_stream }))
}
