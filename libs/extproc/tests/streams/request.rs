//! The request's half of a conversation: when the picker replies, and with what.

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use signalbox_extproc::{Config, Outcome, Refusal};
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;
use signalbox_types::Subset;

use crate::gateway::{
    BODY, ENDPOINT, GENERATED_ID, Gateway, Observed, POST, Routed, empty_message, request, request_body,
    request_headers, request_trailers, response_body, response_headers, with_body_modes,
};

fn routed(content_length: Option<usize>) -> Observed {
    let content_length = content_length.map(|bytes| bytes.to_string());
    Observed::Routed(Routed {
        destination: ENDPOINT.to_owned(),
        content_length,
        request_id: Some(GENERATED_ID.to_owned()),
        removed: Vec::new(),
    })
}

fn chunk(body: &str, end: bool) -> Observed {
    Observed::RequestChunk(Bytes::copy_from_slice(body.as_bytes()), end)
}

/// Drops the pick from what was observed.
fn without_pick(observed: Vec<Observed>) -> Vec<Observed> {
    observed.into_iter().filter(|observed| !matches!(observed, Observed::Pick(_))).collect()
}

#[test]
fn nothing_is_sent_until_the_body_ends() {
    let mut gateway = Gateway::new();
    let (head, tail) = BODY.split_at(10);
    assert_eq!(gateway.send(request_headers(&POST, false)), []);
    assert_eq!(gateway.send(request_body(head, false)), []);
    assert_eq!(gateway.send(empty_message()), []);
    assert_eq!(gateway.send(request_body(tail, false)), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::NotSent);
    let observed = gateway.send(request_body("", true));
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!((parsed.request.model.as_str(), parsed.request.prompt_tokens), ("llama3", 2));
    assert_eq!(observed[1..], [routed(Some(BODY.len())), chunk(BODY, true)]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
}

#[test]
fn reply_to_trailers_follows_the_body() {
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&POST, false));
    gateway.send(request_body(BODY, false));
    let expected = [routed(Some(BODY.len())), chunk(BODY, false), Observed::RequestTrailers];
    assert_eq!(without_pick(gateway.send(request_trailers())), expected);
}

#[test]
fn request_that_ends_at_its_headers_is_routed_by_load() {
    for headers in [&[][..], &[(":method", "GET"), (":path", "/v1/completions")], &[(":path", "/v1/models")]]
    {
        let mut gateway = Gateway::new();
        let expected = [Observed::Pick(Box::default()), routed(None)];
        assert_eq!(gateway.send(request_headers(headers, true)), expected);
    }
}

#[test]
fn chunks_have_the_maximum_length() {
    for len in [10, 62_000, 62_001, 125_000] {
        let mut gateway = Gateway::new();
        gateway.send(request_headers(&POST, false));
        let body = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(len));
        let chunks = body.len().div_ceil(62_000);
        let observed = without_pick(gateway.send(request_body(body, true)));
        assert_eq!(observed.len(), 1 + chunks, "{len} bytes");
    }
}

#[test]
fn body_in_one_message_is_not_copied() {
    let body = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(100_000)).into_bytes();
    let start = body.as_ptr();
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&POST, false));
    let observed = gateway.send(request_body(body, true));
    let Observed::RequestChunk(chunk, false) = &observed[2] else { panic!("{observed:?}") };
    assert_eq!(chunk.as_ptr(), start);
}

#[test]
fn request_with_a_hidden_body_is_routed_by_its_headers() {
    let mut gateway = Gateway::new();
    let headers =
        with_body_modes(request_headers(&POST, false), BodySendMode::None, BodySendMode::FullDuplexStreamed);
    assert_eq!(gateway.send(headers), [Observed::Pick(Box::default()), routed(None)]);
    assert_eq!(gateway.send(request_trailers()), [Observed::RequestTrailers]);
}

#[test]
fn messages_out_of_order_pass() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.send(request_body("abc", false)), [chunk("abc", false)]);
    assert_eq!(gateway.send(request_trailers()), [Observed::RequestTrailers]);
    let [headers, body] = request(&POST, BODY);
    gateway.send(headers.clone());
    assert_eq!(gateway.send(headers.clone()), []);
    gateway.send(body);
    assert_eq!(gateway.send(headers), [Observed::RequestHeaders]);
}

#[test]
fn response_of_the_gateway_itself_prevents_a_pick() {
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&POST, false));
    assert_eq!(
        gateway.send(response_headers("408", false)),
        [Observed::ResponseHeaders, Observed::ResponseStarted(Some(408))]
    );
    assert_eq!(gateway.send(request_body(BODY, true)), []);
    let end = [Observed::ResponseChunk(Bytes::new(), true), Observed::ResponseEnded];
    assert_eq!(gateway.send(response_body("", true)), end);
    assert_eq!(gateway.conversation.outcome(), Outcome::NotSent);
}

#[test]
fn request_id_is_known_after_the_headers() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.conversation.request_id(), None);
    gateway.send(request_headers(&[("x-request-id", "abc")], false));
    assert_eq!(gateway.conversation.request_id(), Some("abc"));
}

#[test]
fn subset_and_decision_headers_reach_the_pick() {
    let config = Config { decision_headers: ["x-session-id".to_owned()].into(), ..Config::default() };
    let mut gateway = Gateway::with(config, Err(Refusal::NoEndpoint));
    let headers = [POST[0], POST[1], ("x-session-id", "s1"), ("x-other", "1")];
    let [mut head, body] = request(&headers, BODY);
    let text = Value { kind: Some(Kind::StringValue("10.0.0.7".to_owned())) };
    let hint = Struct { fields: [("x-gateway-destination-endpoint-subset".to_owned(), text)].into() };
    let filter_metadata = [("envoy.lb.subset_hint".to_owned(), hint)].into();
    head.metadata_context = Some(Metadata { filter_metadata });
    gateway.send(head);
    let observed = gateway.send(body);
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!(parsed.request.subset, Some(Subset::from_iter(["10.0.0.7"])));
    assert_eq!(parsed.request.headers, [("x-session-id".to_owned(), "s1".to_owned())]);
}
