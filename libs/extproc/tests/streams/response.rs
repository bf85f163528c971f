//! The response's half of a conversation, and the outcome of the request.

use std::net::SocketAddr;

use bytes::Bytes;
use signalbox_extproc::{Config, Destination, Outcome, ResponseHeader};
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;

use crate::gateway::{
    BODY, ENDPOINT, Gateway, Observed, POST, request, response_body, response_headers, response_trailers,
    with_body_modes,
};

/// Returns a gateway after a request. It announced the response's body mode if one is given.
fn gateway_after_request(response_mode: Option<BodySendMode>) -> Gateway {
    let mut gateway = Gateway::new();
    let [headers, body] = request(&POST, BODY);
    let headers = match response_mode {
        Some(mode) => with_body_modes(headers, BodySendMode::FullDuplexStreamed, mode),
        None => headers,
    };
    gateway.send(headers);
    gateway.send(body);
    gateway
}

fn chunk(body: &'static str, end: bool) -> Observed {
    Observed::ResponseChunk(Bytes::from_static(body.as_bytes()), end)
}

fn started() -> [Observed; 2] {
    [Observed::ResponseHeaders, Observed::ResponseStarted(Some(200))]
}

#[test]
fn event_stream_passes_chunk_by_chunk() {
    let mut gateway = gateway_after_request(None);
    assert_eq!(gateway.send(response_headers("200", false)), started());
    assert_eq!(
        gateway.send(response_body("data: a\n\n", false)),
        [chunk("data: a\n\n", false), Observed::FirstChunk]
    );
    assert_eq!(gateway.send(response_body("data: b\n\n", false)), [chunk("data: b\n\n", false)]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
    assert_eq!(gateway.send(response_body("", true)), [chunk("", true), Observed::ResponseEnded]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn response_in_one_chunk_is_reported_in_order() {
    let mut gateway = gateway_after_request(Some(BodySendMode::FullDuplexStreamed));
    gateway.send(response_headers("200", false));
    let expected = [chunk("{}", true), Observed::FirstChunk, Observed::ResponseEnded];
    assert_eq!(gateway.send(response_body("{}", true)), expected);
}

#[test]
fn trailers_end_a_response_once() {
    let mut gateway = gateway_after_request(None);
    gateway.send(response_headers("200", false));
    gateway.send(response_body("x", false));
    assert_eq!(gateway.send(response_trailers()), [Observed::ResponseTrailers, Observed::ResponseEnded]);
    assert_eq!(gateway.send(response_trailers()), [Observed::ResponseTrailers]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn response_may_end_at_its_headers() {
    let mut gateway = gateway_after_request(None);
    let expected = [Observed::ResponseHeaders, Observed::ResponseStarted(Some(503)), Observed::ResponseEnded];
    assert_eq!(gateway.send(response_headers("503", true)), expected);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn long_chunk_is_sliced_without_a_copy() {
    let mut gateway = gateway_after_request(None);
    let body = vec![b'x'; 62_001];
    let start = body.as_ptr();
    let observed = gateway.send(response_body(body, true));
    let [Observed::ResponseChunk(first, false), Observed::ResponseChunk(second, true), ..] = &observed[..]
    else {
        panic!("{observed:?}")
    };
    assert_eq!((first.as_ptr(), first.len(), second.len()), (start, 62_000, 1));
}

#[test]
fn modes_with_one_reply_per_message_pass_chunks() {
    for mode in [BodySendMode::Streamed, BodySendMode::Buffered, BodySendMode::BufferedPartial] {
        let mut gateway = gateway_after_request(Some(mode));
        gateway.send(response_headers("200", false));
        let expected = [Observed::ResponsePassed, Observed::FirstChunk, Observed::ResponseEnded];
        assert_eq!(gateway.send(response_body(vec![b'x'; 200_000], true)), expected);
        assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
    }
}

#[test]
fn response_without_a_request_passes() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.send(response_headers("200", false)), started());
    let expected = [chunk("x", true), Observed::FirstChunk, Observed::ResponseEnded];
    assert_eq!(gateway.send(response_body("x", true)), expected);
    assert_eq!(gateway.conversation.outcome(), Outcome::NotSent);
}

#[test]
fn outcome_is_hidden_if_the_mode_hides_the_response() {
    let duplex = Some(BodySendMode::FullDuplexStreamed);
    // A gateway that announces a hidden body may hide the headers too.
    let expected = [
        (Some(BodySendMode::None), [Outcome::Hidden, Outcome::Hidden]),
        (None, [Outcome::Aborted, Outcome::Hidden]),
        (duplex, [Outcome::Aborted, Outcome::Aborted]),
    ];
    for (mode, [before, after]) in expected {
        let mut gateway = gateway_after_request(mode);
        assert_eq!(gateway.conversation.outcome(), before, "{mode:?}, before the response began");
        gateway.send(response_headers("200", false));
        assert_eq!(gateway.conversation.outcome(), after, "{mode:?}");
    }
}

#[test]
fn trailers_end_a_response_with_a_hidden_body() {
    let mut gateway = gateway_after_request(Some(BodySendMode::None));
    gateway.send(response_headers("200", false));
    gateway.send(response_trailers());
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn response_header_is_added_once() {
    let header = ResponseHeader { name: "x-session-token".to_owned(), value: "cG9k".to_owned() };
    let endpoint = Destination::from(ENDPOINT.parse::<SocketAddr>().unwrap()).with_response_header(header);
    let mut gateway = Gateway::with(Config::default(), Ok(endpoint));
    for message in request(&POST, BODY) {
        gateway.send(message);
    }
    let announced = Observed::ResponseHeaderAdded("x-session-token".to_owned(), Bytes::from_static(b"cG9k"));
    assert_eq!(
        gateway.send(response_headers("200", false)),
        [announced, Observed::ResponseStarted(Some(200))]
    );
    assert_eq!(gateway.send(response_headers("200", false)), [Observed::ResponseHeaders]);
}
