//! The response's half, and what becomes of the request.

use std::net::SocketAddr;

use bytes::Bytes;
use signalbox_extproc::{Announcement, Config, Destination, Outcome};
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;

use crate::gateway::{
    BODY, ENDPOINT, Gateway, POST, Seen, request, response_body, response_headers, response_trailers, telling,
};

/// A gateway whose request was sent, and that told its response mode, if any.
fn sent(response_mode: Option<BodySendMode>) -> Gateway {
    let mut gateway = Gateway::new();
    let [headers, body] = request(&POST, BODY);
    let headers = match response_mode {
        Some(mode) => telling(headers, BodySendMode::FullDuplexStreamed, mode),
        None => headers,
    };
    gateway.say(headers);
    gateway.say(body);
    gateway
}

fn chunk(body: &'static str, end: bool) -> Seen {
    Seen::ResponseChunk(Bytes::from_static(body.as_bytes()), end)
}

fn started() -> [Seen; 2] {
    [Seen::ResponseHeaders, Seen::Started(Some(200))]
}

#[test]
fn an_event_stream_passes_chunk_by_chunk() {
    let mut gateway = sent(None);
    assert_eq!(gateway.say(response_headers("200", false)), started());
    assert_eq!(
        gateway.say(response_body("data: a\n\n", false)),
        [chunk("data: a\n\n", false), Seen::FirstChunk]
    );
    assert_eq!(gateway.say(response_body("data: b\n\n", false)), [chunk("data: b\n\n", false)]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
    assert_eq!(gateway.say(response_body("", true)), [chunk("", true), Seen::Ended]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn a_response_in_one_chunk_is_told_of_in_order() {
    let mut gateway = sent(Some(BodySendMode::FullDuplexStreamed));
    gateway.say(response_headers("200", false));
    let expected = [chunk("{}", true), Seen::FirstChunk, Seen::Ended];
    assert_eq!(gateway.say(response_body("{}", true)), expected);
}

#[test]
fn trailers_end_a_response_once() {
    let mut gateway = sent(None);
    gateway.say(response_headers("200", false));
    gateway.say(response_body("x", false));
    assert_eq!(gateway.say(response_trailers()), [Seen::ResponseTrailers, Seen::Ended]);
    assert_eq!(gateway.say(response_trailers()), [Seen::ResponseTrailers]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn a_response_may_end_at_its_headers() {
    let mut gateway = sent(None);
    let expected = [Seen::ResponseHeaders, Seen::Started(Some(503)), Seen::Ended];
    assert_eq!(gateway.say(response_headers("503", true)), expected);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn a_chunk_passes_without_a_copy_and_a_long_one_in_slices() {
    let mut gateway = sent(None);
    let body = vec![b'x'; 62_001];
    let start = body.as_ptr();
    let seen = gateway.say(response_body(body, true));
    let [Seen::ResponseChunk(first, false), Seen::ResponseChunk(second, true), ..] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!((first.as_ptr(), first.len(), second.len()), (start, 62_000, 1));
}

#[test]
fn in_modes_of_one_answer_a_message_chunks_are_nodded_through() {
    for mode in [BodySendMode::Streamed, BodySendMode::Buffered, BodySendMode::BufferedPartial] {
        let mut gateway = sent(Some(mode));
        gateway.say(response_headers("200", false));
        let expected = [Seen::ResponseNod, Seen::FirstChunk, Seen::Ended];
        assert_eq!(gateway.say(response_body(vec![b'x'; 200_000], true)), expected);
        assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
    }
}

#[test]
fn a_response_on_a_stream_without_a_request_passes() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.say(response_headers("200", false)), started());
    let expected = [chunk("x", true), Seen::FirstChunk, Seen::Ended];
    assert_eq!(gateway.say(response_body("x", true)), expected);
    assert_eq!(gateway.conversation.outcome(), Outcome::Unpicked);
}

#[test]
fn where_the_mode_hides_the_response_its_end_is_unknown() {
    let duplex = Some(BodySendMode::FullDuplexStreamed);
    // Who says that the body is hidden may hide the headers too.
    let expected = [
        (Some(BodySendMode::None), [Outcome::Hidden, Outcome::Hidden]),
        (None, [Outcome::Aborted, Outcome::Hidden]),
        (duplex, [Outcome::Aborted, Outcome::Aborted]),
    ];
    for (mode, [before, after]) in expected {
        let mut gateway = sent(mode);
        assert_eq!(gateway.conversation.outcome(), before, "{mode:?}, before the response began");
        gateway.say(response_headers("200", false));
        assert_eq!(gateway.conversation.outcome(), after, "{mode:?}");
    }
}

#[test]
fn trailers_tell_the_end_of_a_response_whose_body_is_hidden() {
    let mut gateway = sent(Some(BodySendMode::None));
    gateway.say(response_headers("200", false));
    gateway.say(response_trailers());
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn an_announcement_goes_with_the_response_once() {
    let announcement = Announcement { header: "x-session-token".to_owned(), value: "cG9k".to_owned() };
    let endpoint = Destination::from(ENDPOINT.parse::<SocketAddr>().unwrap()).announced(announcement);
    let mut gateway = Gateway::with(Config::default(), Ok(endpoint));
    for message in request(&POST, BODY) {
        gateway.say(message);
    }
    let announced = Seen::Announced("x-session-token".to_owned(), Bytes::from_static(b"cG9k"));
    assert_eq!(gateway.say(response_headers("200", false)), [announced, Seen::Started(Some(200))]);
    assert_eq!(gateway.say(response_headers("200", false)), [Seen::ResponseHeaders]);
}
