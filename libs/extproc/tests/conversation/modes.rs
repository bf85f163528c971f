//! Requests whose bodies come in other ways than full duplex.

use bytes::Bytes;
use signalbox_extproc::{Config, Outcome, Refusal};
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    BODY, ENDPOINT, Gateway, MADE_ID, POST, Routed, Seen, request_body, request_headers, request_trailers,
    response_headers, telling,
};

fn headers(mode: BodySendMode) -> ProcessingRequest {
    telling(request_headers(&POST, false), mode, BodySendMode::FullDuplexStreamed)
}

fn routed() -> Routed {
    Routed { destination: ENDPOINT.to_owned(), request_id: Some(MADE_ID.to_owned()), ..Routed::default() }
}

#[test]
fn a_buffered_body_is_read_and_answered_with_the_destination() {
    for mode in [BodySendMode::Buffered, BodySendMode::BufferedPartial] {
        let mut gateway = Gateway::new();
        assert_eq!(gateway.say(headers(mode)), [Seen::RequestHeaders]);
        let seen = gateway.say(request_body(BODY, true));
        let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
        assert_eq!("llama3", intake.request.model);
        assert_eq!(seen[1..], [Seen::RoutedWithBody(routed(), None)]);
        assert_eq!(gateway.say(request_trailers()), [Seen::RequestTrailers]);
        assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
    }
}

#[test]
fn a_buffered_body_that_makes_no_sense_is_refused() {
    let mut gateway = Gateway::new();
    gateway.say(headers(BodySendMode::Buffered));
    let seen = gateway.say(request_body("{", true));
    assert!(matches!(seen[..], [Seen::Immediate { status: 400, .. }, Seen::Close]), "{seen:?}");
}

#[test]
fn a_buffered_body_before_trailers_is_whole() {
    let mut gateway = Gateway::new();
    gateway.say(headers(BodySendMode::Buffered));
    let seen = gateway.say(request_body(BODY, false));
    let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!("llama3", intake.request.model);
}

#[test]
fn where_a_buffered_body_does_not_come_nobody_can_be_told_where_to() {
    let mut gateway = Gateway::new();
    gateway.say(headers(BodySendMode::Buffered));
    let text = "inference error: BadRequest - a body was announced, and none came before the trailers";
    let seen = gateway.say(request_trailers());
    assert!(
        matches!(&seen[..], [Seen::Immediate { status: 400, body, .. }, Seen::Close] if body == text),
        "{seen:?}"
    );
}

#[test]
fn of_a_part_of_a_body_the_length_is_not_told() {
    let steered = [POST[0], POST[1], ("x-llm-d-model-name-rewrite", "tuned")];
    for (mode, end, length) in [
        (BodySendMode::Buffered, true, Some("34")),
        (BodySendMode::Buffered, false, Some("34")),
        (BodySendMode::BufferedPartial, true, Some("34")),
        (BodySendMode::BufferedPartial, false, None),
    ] {
        let mut gateway = Gateway::new();
        gateway.say(telling(request_headers(&steered, false), mode, BodySendMode::FullDuplexStreamed));
        let seen = gateway.say(request_body(BODY, end));
        let Some(Seen::RoutedWithBody(routed, Some(body))) = seen.last() else { panic!("{seen:?}") };
        assert_eq!((34, length), (body.len(), routed.content_length.as_deref()), "{mode:?} {end}");
    }
}

#[test]
fn a_part_of_a_body_goes_by_load() {
    let mut gateway = Gateway::new();
    gateway.say(headers(BodySendMode::BufferedPartial));
    let seen = gateway.say(request_body(&BODY[..20], false));
    assert_eq!(seen, [Seen::Picking(Box::default()), Seen::RoutedWithBody(routed(), None)]);
}

#[test]
fn a_body_that_streams_comes_too_late_and_passes() {
    let mut gateway = Gateway::new();
    let seen = gateway.say(headers(BodySendMode::Streamed));
    assert_eq!(seen, [Seen::Picking(Box::default()), Seen::Routed(routed())]);
    for end in [false, true] {
        assert_eq!(gateway.say(request_body(BODY, end)), [Seen::RequestNod]);
    }
}

#[test]
fn a_request_without_a_body_is_routed_by_its_headers_in_every_mode() {
    for mode in 0..6 {
        let mode = BodySendMode::try_from(mode).unwrap();
        let get = telling(request_headers(&[(":method", "GET")], true), mode, mode);
        assert_eq!(Gateway::new().say(get), [Seen::Picking(Box::default()), Seen::Routed(routed())]);
    }
}

#[test]
fn a_buffered_body_is_bounded() {
    let config = Config { body_limit_bytes: 10, ..Config::default() };
    let mut gateway = Gateway::with(config, Err(Refusal::NoEndpoint));
    gateway.say(headers(BodySendMode::Buffered));
    let seen = gateway.say(request_body(BODY, true));
    assert!(matches!(seen[..], [Seen::Immediate { status: 413, .. }, Seen::Close]), "{seen:?}");
}

#[test]
fn a_gateway_that_answers_before_the_body_came_is_not_picked_for() {
    let mut gateway = Gateway::new();
    gateway.say(headers(BodySendMode::Buffered));
    gateway.say(response_headers("408", true));
    assert_eq!(gateway.say(request_body(BODY, true)), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::Unpicked);
}

#[test]
fn grpc_bodies_are_sent_back_like_those_in_full_duplex() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.say(headers(BodySendMode::Grpc)), []);
    let seen = gateway.say(request_body(BODY, true));
    assert_eq!(seen[2], Seen::RequestChunk(Bytes::from_static(BODY.as_bytes()), true));
}
