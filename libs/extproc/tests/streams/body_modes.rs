//! Requests in body modes other than full duplex.

use signalbox_extproc::{Config, Outcome, Refusal};
use signalbox_intake::{Parsers, Unread};
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    BODY, ENDPOINT, GENERATED_ID, Gateway, Observed, POST, Routed, request_body, request_headers,
    request_trailers, response_headers, with_body_modes,
};

fn headers(mode: BodySendMode) -> ProcessingRequest {
    with_body_modes(request_headers(&POST, false), mode, BodySendMode::FullDuplexStreamed)
}

fn routed() -> Routed {
    Routed {
        destination: ENDPOINT.to_owned(),
        request_id: Some(GENERATED_ID.to_owned()),
        ..Routed::default()
    }
}

#[test]
fn reply_to_a_buffered_body_has_the_destination() {
    for mode in [BodySendMode::Buffered, BodySendMode::BufferedPartial] {
        let mut gateway = Gateway::new();
        assert_eq!(gateway.send(headers(mode)), [Observed::RequestHeaders]);
        let observed = gateway.send(request_body(BODY, true));
        let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
        assert_eq!("llama3", parsed.request.model);
        assert_eq!(observed[1..], [Observed::RoutedWithBody(routed(), None)]);
        assert_eq!(gateway.send(request_trailers()), [Observed::RequestTrailers]);
        assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
    }
}

#[test]
fn invalid_buffered_body_is_refused() {
    let mut gateway = Gateway::new();
    gateway.send(headers(BodySendMode::Buffered));
    let observed = gateway.send(request_body("{", true));
    assert!(matches!(observed[..], [Observed::Refused { status: 400, .. }, Observed::Close]), "{observed:?}");
}

#[test]
fn buffered_body_before_trailers_is_complete() {
    let mut gateway = Gateway::new();
    gateway.send(headers(BodySendMode::Buffered));
    let observed = gateway.send(request_body(BODY, false));
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!("llama3", parsed.request.model);
}

#[test]
fn missing_buffered_body_is_refused() {
    let mut gateway = Gateway::new();
    gateway.send(headers(BodySendMode::Buffered));
    let text = "BadRequest - the request headers announced a body, but trailers arrived instead";
    let observed = gateway.send(request_trailers());
    assert!(
        matches!(&observed[..], [Observed::Refused { status: 400, body, .. }, Observed::Close] if body == text),
        "{observed:?}"
    );
}

#[test]
fn partial_body_sets_no_content_length() {
    let with_rewrite = [POST[0], POST[1], ("x-llm-d-model-name-rewrite", "tuned")];
    for (mode, end, length) in [
        (BodySendMode::Buffered, true, Some("34")),
        (BodySendMode::Buffered, false, Some("34")),
        (BodySendMode::BufferedPartial, true, Some("34")),
        (BodySendMode::BufferedPartial, false, None),
    ] {
        let mut gateway = Gateway::new();
        gateway.send(with_body_modes(
            request_headers(&with_rewrite, false),
            mode,
            BodySendMode::FullDuplexStreamed,
        ));
        let observed = gateway.send(request_body(BODY, end));
        let Some(Observed::RoutedWithBody(routed, Some(body))) = observed.last() else {
            panic!("{observed:?}")
        };
        assert_eq!((34, length), (body.len(), routed.content_length.as_deref()), "{mode:?} {end}");
    }
}

#[test]
fn partial_body_is_routed_by_load() {
    let mut gateway = Gateway::new();
    gateway.send(headers(BodySendMode::BufferedPartial));
    let observed = gateway.send(request_body(&BODY[..20], false));
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!((parsed.unread, parsed.chain.len()), (Some(Unread::Part), 0));
    assert_eq!(observed[1..], [Observed::RoutedWithBody(routed(), None)]);
}

#[test]
fn streamed_body_passes_after_the_headers_are_routed() {
    let mut gateway = Gateway::new();
    let observed = gateway.send(headers(BodySendMode::Streamed));
    assert_eq!(observed, [Observed::Pick(Box::default()), Observed::Routed(routed())]);
    for end in [false, true] {
        assert_eq!(gateway.send(request_body(BODY, end)), [Observed::RequestPassed]);
    }
}

#[test]
fn request_without_a_body_is_routed_by_its_headers_in_every_mode() {
    for mode in 0..6 {
        let mode = BodySendMode::try_from(mode).unwrap();
        let get = with_body_modes(request_headers(&[(":method", "GET")], true), mode, mode);
        assert_eq!(Gateway::new().send(get), [Observed::Pick(Box::default()), Observed::Routed(routed())]);
    }
}

#[test]
fn buffered_body_is_limited() {
    let config = Config { body_limit_bytes: 10, ..Config::default() };
    let mut gateway = Gateway::with(config, Err(Refusal::NoEndpoint));
    gateway.send(headers(BodySendMode::Buffered));
    let observed = gateway.send(request_body(BODY, true));
    assert!(matches!(observed[..], [Observed::Refused { status: 413, .. }, Observed::Close]), "{observed:?}");
}

#[test]
fn response_before_the_body_prevents_a_pick() {
    let mut gateway = Gateway::new();
    gateway.send(headers(BodySendMode::Buffered));
    gateway.send(response_headers("408", true));
    assert_eq!(gateway.send(request_body(BODY, true)), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::NotSent);
}

#[test]
fn listed_parsers_hold_in_every_mode() {
    let parsers = std::sync::Arc::new(Parsers::new(["anthropic-parser".to_owned()]));
    for mode in (0..6).map(|mode| BodySendMode::try_from(mode).unwrap()) {
        let config = Config { parsers: parsers.clone(), ..Config::default() };
        let observed = Gateway::with(config, Err(Refusal::NoEndpoint)).send(headers(mode));
        assert!(
            matches!(&observed[..], [Observed::Refused { status: 400, body, .. }, Observed::Close]
                if body.contains("no parser registered")),
            "{mode:?}: {observed:?}"
        );
    }
}
