//! The request's half: when the picker speaks, and what it says.

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use signalbox_extproc::{Config, Outcome, Refusal};
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;
use signalbox_types::Subset;

use crate::gateway::{
    BODY, ENDPOINT, Gateway, MADE_ID, POST, Routed, Seen, nothing, request, request_body, request_headers,
    request_trailers, response_body, response_headers, telling,
};

fn routed(content_length: Option<usize>) -> Seen {
    let content_length = content_length.map(|bytes| bytes.to_string());
    Seen::Routed(Routed {
        destination: ENDPOINT.to_owned(),
        content_length,
        request_id: Some(MADE_ID.to_owned()),
        removed: Vec::new(),
    })
}

fn chunk(body: &str, end: bool) -> Seen {
    Seen::RequestChunk(Bytes::copy_from_slice(body.as_bytes()), end)
}

/// What came, without the pick.
fn answers(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|seen| !matches!(seen, Seen::Picking(_))).collect()
}

#[test]
fn it_is_silent_until_the_body_ends() {
    let mut gateway = Gateway::new();
    let (head, tail) = BODY.split_at(10);
    assert_eq!(gateway.say(request_headers(&POST, false)), []);
    assert_eq!(gateway.say(request_body(head, false)), []);
    assert_eq!(gateway.say(nothing()), []);
    assert_eq!(gateway.say(request_body(tail, false)), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::Unpicked);
    let seen = gateway.say(request_body("", true));
    let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!((intake.request.model.as_str(), intake.request.prompt_tokens), ("llama3", 2));
    assert_eq!(seen[1..], [routed(Some(BODY.len())), chunk(BODY, true)]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
}

#[test]
fn trailers_end_a_body_and_are_answered_after_it() {
    let mut gateway = Gateway::new();
    gateway.say(request_headers(&POST, false));
    gateway.say(request_body(BODY, false));
    let expected = [routed(Some(BODY.len())), chunk(BODY, false), Seen::RequestTrailers];
    assert_eq!(answers(gateway.say(request_trailers())), expected);
}

#[test]
fn trailers_right_after_the_headers_are_answered_without_a_body() {
    let mut gateway = Gateway::new();
    gateway.say(request_headers(&[(":path", "/upload")], false));
    assert_eq!(answers(gateway.say(request_trailers())), [routed(None), Seen::RequestTrailers]);
}

#[test]
fn a_request_that_ends_at_its_headers_is_routed_by_load() {
    for headers in [&[][..], &[(":method", "GET"), (":path", "/v1/completions")], &[(":path", "/v1/models")]]
    {
        let mut gateway = Gateway::new();
        let expected = [Seen::Picking(Box::default()), routed(None)];
        assert_eq!(gateway.say(request_headers(headers, true)), expected);
    }
}

#[test]
fn a_request_that_names_no_prompt_api_is_routed_by_load_body_and_all() {
    for headers in [
        [(":method", "POST"), (":path", "/v1/audio/speech")],
        [(":method", "PUT"), (":path", "/v1/completions")],
    ] {
        let mut gateway = Gateway::new();
        gateway.say(request_headers(&headers, false));
        let expected = [Seen::Picking(Box::default()), routed(Some(3)), chunk("\u{1}{{", true)];
        assert_eq!(gateway.say(request_body("\u{1}{{", true)), expected);
    }
}

#[test]
fn an_empty_body_is_one_empty_chunk() {
    let mut gateway = Gateway::new();
    gateway.say(request_headers(&[(":path", "/v1/other")], false));
    assert_eq!(answers(gateway.say(request_body("", true))), [routed(None), chunk("", true)]);
}

#[test]
fn chunks_are_as_long_as_they_may_be() {
    for (len, chunks) in [(1, 1), (62_000, 1), (62_001, 2), (125_000, 3)] {
        let mut gateway = Gateway::new();
        gateway.say(request_headers(&[(":path", "/upload")], false));
        let seen = answers(gateway.say(request_body(vec![b'x'; len], true)));
        assert_eq!(seen.len(), 1 + chunks, "{len} bytes");
    }
}

#[test]
fn a_body_in_one_message_goes_back_without_a_copy() {
    let body = vec![b'x'; 100_000];
    let start = body.as_ptr();
    let mut gateway = Gateway::new();
    gateway.say(request_headers(&[(":path", "/upload")], false));
    let seen = gateway.say(request_body(body, true));
    let Seen::RequestChunk(chunk, false) = &seen[2] else { panic!("{seen:?}") };
    assert_eq!(chunk.as_ptr(), start);
}

#[test]
fn where_the_body_is_withheld_the_headers_decide() {
    let mut gateway = Gateway::new();
    let headers =
        telling(request_headers(&POST, false), BodySendMode::None, BodySendMode::FullDuplexStreamed);
    assert_eq!(gateway.say(headers), [Seen::Picking(Box::default()), routed(None)]);
    assert_eq!(gateway.say(request_trailers()), [Seen::RequestTrailers]);
}

#[test]
fn what_is_out_of_order_passes() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.say(request_body("abc", false)), [chunk("abc", false)]);
    assert_eq!(gateway.say(request_trailers()), [Seen::RequestTrailers]);
    let [headers, body] = request(&POST, BODY);
    gateway.say(headers.clone());
    assert_eq!(gateway.say(headers.clone()), []);
    gateway.say(body);
    assert_eq!(gateway.say(headers), [Seen::RequestHeaders]);
}

#[test]
fn a_request_that_the_gateway_answered_itself_is_not_picked_for() {
    let mut gateway = Gateway::new();
    gateway.say(request_headers(&POST, false));
    assert_eq!(
        gateway.say(response_headers("408", false)),
        [Seen::ResponseHeaders, Seen::Started(Some(408))]
    );
    assert_eq!(gateway.say(request_body(BODY, true)), []);
    let end = [Seen::ResponseChunk(Bytes::new(), true), Seen::Ended];
    assert_eq!(gateway.say(response_body("", true)), end);
    assert_eq!(gateway.conversation.outcome(), Outcome::Unpicked);
}

#[test]
fn the_request_id_is_known_from_the_headers_on() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.conversation.request_id(), None);
    gateway.say(request_headers(&[("x-request-id", "abc")], false));
    assert_eq!(gateway.conversation.request_id(), Some("abc"));
}

#[test]
fn what_the_gateway_allows_and_the_headers_that_count_are_told() {
    let config = Config { headers: ["x-session-id".to_owned()].into(), ..Config::default() };
    let mut gateway = Gateway::with(config, Err(Refusal::NoEndpoint));
    let headers = [POST[0], POST[1], ("x-session-id", "s1"), ("x-other", "1")];
    let [mut head, body] = request(&headers, BODY);
    let text = Value { kind: Some(Kind::StringValue("10.0.0.7".to_owned())) };
    let hint = Struct { fields: [("x-gateway-destination-endpoint-subset".to_owned(), text)].into() };
    let filter_metadata = [("envoy.lb.subset_hint".to_owned(), hint)].into();
    head.metadata_context = Some(Metadata { filter_metadata });
    gateway.say(head);
    let seen = gateway.say(body);
    let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(intake.request.subset, Some(Subset::from_iter(["10.0.0.7"])));
    assert_eq!(intake.request.headers, [("x-session-id".to_owned(), "s1".to_owned())]);
}
