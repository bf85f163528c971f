//! What is refused, with which words, and that nothing comes after it.

use std::net::SocketAddr;

use signalbox_extproc::{Buffers, Config, Event, Outcome, Refusal};
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    BODY, ENDPOINT, Gateway, POST, Seen, request, request_body, request_headers, request_trailers,
    response_headers, telling,
};

const CHAT: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];

fn refused(status: i32, body: &str, reason: Option<&str>) -> [Seen; 2] {
    let retry_after = (status == 429).then(|| "1".to_owned());
    let (body, reason) = (body.to_owned(), reason.map(str::to_owned));
    [Seen::Immediate { status, body, reason, retry_after }, Seen::Close]
}

/// What comes of the last of these messages.
fn last(mut gateway: Gateway, messages: impl IntoIterator<Item = ProcessingRequest>) -> Vec<Seen> {
    messages.into_iter().map(|message| gateway.say(message)).last().unwrap()
}

#[test]
fn bad_bodies() {
    for (headers, body, message) in [
        (POST, r#"{"prompt":"p"}"#, "model not found in request body"),
        (POST, r#"{"model":"m"}"#, "invalid completions request: must have prompt field"),
        (CHAT, r#"{"model":"m"}"#, "invalid chat completions request: must have valid messages field"),
        (POST, "[]", "error unmarshaling request bodyMap: the body is not a JSON object"),
        (
            POST,
            "no healthy upstream",
            "error unmarshaling request bodyMap: expected ident at line 1 column 2",
        ),
    ] {
        let text = format!("inference error: BadRequest - {message}");
        assert_eq!(last(Gateway::new(), request(&headers, body)), refused(400, &text, None));
    }
}

#[test]
fn a_post_without_a_body() {
    let seen = Gateway::new().say(request_headers(&POST, true));
    let text = "inference error: BadRequest - \
                error unmarshaling request bodyMap: EOF while parsing a value at line 1 column 0";
    assert_eq!(seen, refused(400, text, None));
}

#[test]
fn a_body_that_is_cut() {
    let said = (BODY.len() + 5).to_string();
    let [method, path] = POST;
    let seen = last(Gateway::new(), request(&[method, path, ("content-length", &said)], BODY));
    let text = "inference error: BadRequest - request body is cut: 35 of 40 bytes arrived";
    assert_eq!(seen, refused(400, text, None));
}

#[test]
fn a_cut_body_that_nobody_reads_passes() {
    let seen = last(Gateway::new(), request(&[(":path", "/upload"), ("content-length", "9")], "x"));
    assert!(matches!(seen[..], [Seen::Picking(_), Seen::Routed(_), Seen::RequestChunk(_, true)]));
}

#[test]
fn no_endpoint() {
    let text = "inference error: ServiceUnavailable - \
                failed to find endpoint candidates for serving the request";
    let expected = refused(503, text, Some("rejected-no-endpoints"));
    let gateway = || Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
    assert_eq!(last(gateway(), request(&POST, BODY))[1..], expected);
    assert_eq!(gateway().say(request_headers(&[(":method", "GET")], true))[1..], expected);
}

#[test]
fn no_endpoint_passes_the_filters() {
    let text = "inference error: ResourceExhausted - no endpoints available for the given request";
    let expected = refused(429, text, Some("rejected-saturated"));
    let gateway = Gateway::with(Config::default(), Err(Refusal::Saturated));
    assert_eq!(last(gateway, request(&POST, BODY))[1..], expected);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_more_of_it_is_kept() {
    let expected =
        refused(413, "inference error: PayloadTooLarge - request body is longer than 10 bytes", None);
    let config = Config { body_limit_bytes: 10, ..Config::default() };
    let gateway = || Gateway::with(config.clone(), Err(Refusal::NoEndpoint));
    let headers = request_headers(&[(":path", "/upload")], false);
    let bodies = [headers.clone(), request_body("12345", false), request_body("123456", false)];
    assert_eq!(last(gateway(), bodies), expected);
    assert_eq!(gateway().say(request_headers(&[("content-length", "11")], false)), expected);
    let just = last(gateway(), [headers, request_body("1234567890", true)]);
    assert!(matches!(just[0], Seen::Picking(_)));
}

#[test]
fn bodies_that_are_too_much_for_all_together() {
    let buffers = Buffers::new(50);
    let config = Config { buffers: buffers.clone(), retry_after_s: 7, ..Config::default() };
    let gateway = || Gateway::with(config.clone(), Err(Refusal::NoEndpoint));
    let headers = || request_headers(&POST, false);
    let mut first = gateway();
    first.say(headers());
    assert_eq!(first.say(request_body(BODY, false)), []);
    assert_eq!(BODY.len() as u64, buffers.held_bytes());
    let body = "inference error: ServiceUnavailable - too many request bodies are on their way through the endpoint picker";
    let expected = Seen::Immediate {
        status: 503,
        body: body.to_owned(),
        reason: Some("rejected-saturated".to_owned()),
        retry_after: Some("7".to_owned()),
    };
    assert_eq!(last(gateway(), [headers(), request_body(BODY, true)]), [expected, Seen::Close]);
    drop(first);
    assert_eq!(0, buffers.held_bytes());
    assert!(matches!(last(gateway(), [headers(), request_body(BODY, true)])[0], Seen::Picking(_)));
}

#[test]
fn a_body_is_held_until_the_gateway_has_it() {
    for mode in [BodySendMode::FullDuplexStreamed, BodySendMode::Buffered] {
        let buffers = Buffers::new(1_000);
        let config = Config { buffers: buffers.clone(), ..Config::default() };
        let mut gateway = Gateway::with(config, Ok(ENDPOINT.parse::<SocketAddr>().unwrap().into()));
        gateway.say(telling(request_headers(&POST, false), mode, mode));
        gateway.conversation.handed_over();
        gateway.say(request_body(BODY, true));
        assert_eq!(BODY.len() as u64, buffers.held_bytes(), "{mode:?}");
        gateway.conversation.handed_over();
        assert_eq!(0, buffers.held_bytes(), "{mode:?}");
    }
}

#[test]
fn nothing_comes_after_a_refusal() {
    let mut gateway = Gateway::new();
    for message in request(&POST, "{") {
        gateway.say(message);
    }
    for message in [request_body(BODY, true), request_trailers(), response_headers("200", true)] {
        assert_eq!(gateway.say(message), []);
    }
    assert_eq!(gateway.step(Event::Picked(Err(Refusal::NoEndpoint))), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::Refused);
    assert!(matches!(gateway.conversation.refusal(), Some(Refusal::BadRequest(_))));
}

#[test]
fn an_answer_that_nobody_asked_for_is_ignored() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.step(Event::Picked(Err(Refusal::NoEndpoint))), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::Unpicked);
}
