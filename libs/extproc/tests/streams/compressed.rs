//! Requests with compressed bodies.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use signalbox_extproc::{BodyBudget, Config, Destination, Event};
use signalbox_intake::{Api, ParseOptions, Unread, parse};
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;

use crate::gateway::{
    BODY, ENDPOINT, Gateway, Observed, POST, request_body, request_headers, with_body_modes,
};

const GZIP: (&str, &str) = ("content-encoding", "gzip");
const REWRITE: (&str, &str) = ("x-llm-d-model-name-rewrite", "tuned");
const DUPLEX: BodySendMode = BodySendMode::FullDuplexStreamed;

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn destination() -> Destination {
    ENDPOINT.parse::<std::net::SocketAddr>().unwrap().into()
}

/// Sends a request with these headers besides method and path, in these pieces; returns what followed the last one.
fn send(config: Config, mode: BodySendMode, headers: &[(&str, &str)], body: &[u8]) -> Vec<Observed> {
    let mut gateway = Gateway::with(config, Ok(destination()));
    let headers = [&POST[..], headers].concat();
    gateway.send(with_body_modes(request_headers(&headers, false), mode, DUPLEX));
    if mode == DUPLEX {
        gateway.send(request_body(&body[..body.len() / 2], false));
        return gateway.send(request_body(&body[body.len() / 2..], true));
    }
    gateway.send(request_body(body, true))
}

#[test]
fn compressed_body_is_read_and_passed_on_as_it_came() {
    let expected = parse(Api::Completions, BODY.as_bytes(), &ParseOptions::new(256)).unwrap();
    let body = gzip(BODY);
    for mode in [DUPLEX, BodySendMode::Buffered, BodySendMode::BufferedPartial] {
        let observed = send(Config::default(), mode, &[GZIP], &body);
        let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
        assert_eq!(**parsed, expected, "{mode:?}");
        match &observed[1..] {
            [Observed::Routed(routed), Observed::RequestChunk(sent, true)] => {
                let length = body.len().to_string();
                assert_eq!((&routed.removed[..], routed.content_length.as_ref()), (&[][..], Some(&length)));
                assert_eq!(sent[..], body);
            }
            [Observed::RoutedWithBody(routed, None)] => assert!(routed.removed.is_empty()),
            other => panic!("{mode:?}: {other:?}"),
        }
    }
}

#[test]
fn rewritten_body_is_sent_decoded() {
    let rewritten = BODY.replace("llama3", "tuned");
    for mode in [DUPLEX, BodySendMode::Buffered, BodySendMode::BufferedPartial] {
        let observed = send(Config::default(), mode, &[GZIP, REWRITE], &gzip(BODY));
        let (routed, sent) = match &observed[1..] {
            [Observed::Routed(routed), Observed::RequestChunk(sent, true)] => (routed, sent),
            [Observed::RoutedWithBody(routed, Some(sent))] => (routed, sent),
            other => panic!("{mode:?}: {other:?}"),
        };
        assert_eq!(sent, &Bytes::from(rewritten.clone()));
        assert_eq!(routed.content_length, Some(rewritten.len().to_string()), "{mode:?}");
        assert!(routed.removed.contains(&"content-encoding".to_owned()), "{mode:?}: {routed:?}");
    }
}

#[test]
fn bombs_and_invalid_bodies_are_refused() {
    let bomb = gzip(&" ".repeat(1 << 20));
    let small = Config { body_limit_bytes: 100_000, ..Config::default() };
    let full = Config { body_budget: BodyBudget::new(100_000), ..Config::default() };
    let truncated = gzip(BODY);
    for (config, body, status, text) in [
        (small, &bomb[..], 413, "request body is longer than 100000 bytes"),
        (full.clone(), &bomb, 503, "buffering too many request bodies"),
        (Config::default(), &truncated[..truncated.len() - 9], 400, "not valid gzip"),
        (Config::default(), BODY.as_bytes(), 400, "not valid gzip"),
        (Config::default(), &gzip("{"), 400, "the body is truncated"),
    ] {
        let observed = send(config, DUPLEX, &[GZIP], body);
        let [Observed::Refused { status: sent, body, .. }, Observed::Close] = &observed[..] else {
            panic!("{observed:?}")
        };
        assert!(*sent == status && body.contains(text), "{sent} {body}");
    }
    assert_eq!(0, full.body_budget.held_bytes());
}

#[test]
fn unknown_encoding_and_parts_are_left_unread() {
    for (mode, encoding, end) in [
        (DUPLEX, "compress", true),
        (BodySendMode::Buffered, "gzip, unknown", true),
        (BodySendMode::BufferedPartial, "gzip", false),
    ] {
        let mut gateway = Gateway::new();
        let headers = [POST[0], POST[1], ("content-encoding", encoding), REWRITE];
        gateway.send(with_body_modes(request_headers(&headers, false), mode, DUPLEX));
        let observed = gateway.send(request_body(gzip(BODY), end));
        let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
        assert_eq!(parsed.unread, Some(Unread::Encoding), "{mode:?}");
        match &observed[1..] {
            [Observed::Routed(_), Observed::RequestChunk(sent, true)] => assert_eq!(sent[..], gzip(BODY)),
            [Observed::RoutedWithBody(_, None)] => {}
            other => panic!("{mode:?}: {other:?}"),
        }
    }
}

#[test]
fn only_the_body_as_it_came_is_held_after_it_was_read() {
    let body_budget = BodyBudget::new(1 << 20);
    let config = Config { body_budget: body_budget.clone(), ..Config::default() };
    let body = gzip(&BODY.replace("hello", &"hello ".repeat(1_000)));
    let mut gateway = Gateway::with(config, Ok(destination()));
    gateway.send(request_headers(&[POST[0], POST[1], GZIP], false));
    gateway.step(Event::Message(request_body(body.clone(), true)));
    assert_eq!(body.len() as u64, body_budget.held_bytes());
}

#[test]
fn large_and_compressed_bodies_take_long() {
    let takes_long = |headers: &[(&str, &str)], sizes: &[usize]| {
        let mut gateway = Gateway::new();
        gateway.send(request_headers(&[&POST[..], headers].concat(), false));
        let (last, first) = sizes.split_last().unwrap();
        for size in first {
            let piece = Event::Message(request_body(vec![b' '; *size], false));
            assert!(!gateway.conversation.takes_long(&piece), "only the last piece is parsed");
            gateway.step(piece);
        }
        gateway.conversation.takes_long(&Event::Message(request_body(vec![b' '; *last], true)))
    };
    assert!(!takes_long(&[], &[1 << 20]));
    assert!(takes_long(&[], &[1 << 20, 1]));
    assert!(takes_long(&[], &[(1 << 20) + 1]));
    assert!(takes_long(&[GZIP], &[20_000]));
    assert!(!takes_long(&[GZIP], &[10_000]));
}
