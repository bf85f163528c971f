//! The response's half of a conversation, and the outcome of the request.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use prost_types::value::Kind;
use signalbox_extproc::{Config, Destination, FirstOutput, Outcome, SessionTokens};
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;

use crate::contract::with_metadata;
use crate::gateway::{
    BODY, ENDPOINT, Gateway, Observed, POST, request, response_body, response_headers, response_headers_of,
    response_trailers, with_body_modes,
};

/// An event before the first output.
const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
/// An event with output, of completions and of chats.
const TEXT: &str = "data: {\"choices\":[{\"text\":\"a\",\"delta\":{\"content\":\"a\"}}]}\n\n";

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
    assert_eq!(gateway.send(response_body(ROLE, false)), [chunk(ROLE, false)]);
    assert_eq!(
        gateway.send(response_body(TEXT, false)),
        [chunk(TEXT, false), Observed::FirstOutput(FirstOutput::Streamed)]
    );
    assert_eq!(gateway.send(response_body(TEXT, false)), [chunk(TEXT, false)]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Aborted);
    assert_eq!(gateway.send(response_body("", true)), [chunk("", true), Observed::ResponseEnded]);
    assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
}

#[test]
fn response_in_one_chunk_is_reported_in_order() {
    let mut gateway = gateway_after_request(Some(BodySendMode::FullDuplexStreamed));
    gateway.send(response_headers("200", false));
    let streamed = Observed::FirstOutput(FirstOutput::Streamed);
    let expected = [chunk(TEXT, true), streamed, Observed::ResponseEnded];
    assert_eq!(gateway.send(response_body(TEXT, true)), expected);
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
        let expected = [Observed::ResponsePassed, Observed::ResponseEnded];
        assert_eq!(gateway.send(response_body(vec![b'x'; 200_000], true)), expected);
        assert_eq!(gateway.conversation.outcome(), Outcome::Complete);
    }
}

#[test]
fn response_without_a_request_passes() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.send(response_headers("200", false)), started());
    let unread = Observed::FirstOutput(FirstOutput::Unread);
    let expected = [chunk("x", true), unread, Observed::ResponseEnded];
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
fn session_token_names_the_endpoint_that_serves() {
    let [picked, other, unknown] =
        [ENDPOINT, "10.0.0.2:8000", "10.9.9.9:80"].map(|text| text.parse::<SocketAddr>().unwrap());
    let tokens: SessionTokens =
        [(picked, "cGlja2Vk".to_owned()), (other, "b3RoZXI=".to_owned())].into_iter().collect();
    let destination = Destination::from(picked).with_session_tokens("x-session-token", &Arc::new(tokens));
    for (status, served, token) in [
        ("200", None, Some("cGlja2Vk")),
        ("200", Some(other), Some("b3RoZXI=")),
        ("404", Some(other), Some("b3RoZXI=")),
        ("200", Some(unknown), None),
        ("500", None, None),
        ("503", Some(other), None),
    ] {
        let mut gateway = Gateway::with(Config::default(), Ok(destination.clone()));
        for message in request(&POST, BODY) {
            gateway.send(message);
        }
        let headers = response_headers(status, false);
        let observed = gateway.send(match served {
            Some(served) => {
                let address = Kind::StringValue(served.to_string());
                with_metadata(headers, "envoy.lb", "x-gateway-destination-endpoint-served", address)
            }
            None => headers,
        });
        let expected = match token {
            Some(token) => Observed::ResponseHeaderAdded(
                "x-session-token".to_owned(),
                Bytes::from_static(token.as_bytes()),
            ),
            None => Observed::ResponseHeaders,
        };
        assert!(observed.contains(&expected), "{status} {served:?}: {observed:?}");
        assert_eq!(
            gateway.send(response_headers("200", false))[0],
            Observed::ResponseHeaders,
            "a second time"
        );
    }
}

#[test]
fn only_a_success_with_output_is_reported_as_output() {
    let error = "data: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n";
    for (status, bodies, expected) in [
        ("200", &[ROLE, TEXT, TEXT][..], &[Observed::FirstOutput(FirstOutput::Streamed)][..]),
        ("200", &[ROLE, ": ping\n\n", "data: [DONE]\n\n"], &[]),
        ("200", &[ROLE, error, TEXT], &[Observed::ErrorReported(Some(503))]),
        (
            "200",
            &[TEXT, error],
            &[Observed::FirstOutput(FirstOutput::Streamed), Observed::ErrorReported(Some(503))],
        ),
        // The last event lacks its end of line.
        ("201", &[TEXT.trim_ascii_end()], &[Observed::FirstOutput(FirstOutput::Streamed)]),
        ("", &[ROLE, TEXT], &[Observed::FirstOutput(FirstOutput::Unread)]),
        ("400", &[TEXT], &[]),
        ("429", &[TEXT, error], &[]),
        ("503", &[TEXT], &[]),
    ] {
        for trailers in [false, true] {
            let mut gateway = gateway_after_request(Some(BodySendMode::FullDuplexStreamed));
            gateway.send(response_headers(status, false));
            let mut observed = Vec::new();
            for body in bodies {
                observed.extend(gateway.send(response_body(*body, false)));
            }
            let end = if trailers { response_trailers() } else { response_body("", true) };
            observed.extend(gateway.send(end));
            observed.retain(|one| matches!(one, Observed::FirstOutput(_) | Observed::ErrorReported(_)));
            assert_eq!(observed, expected, "{status} {bodies:?}");
        }
    }
}

#[test]
fn form_of_the_first_output_tells_what_it_says_about_time() {
    let json = [(":status", "200"), ("content-type", "application/json")];
    let compressed =
        [(":status", "200"), ("content-type", "text/event-stream"), ("content-encoding", "gzip")];
    let events = [(":status", "200"), ("content-type", "text/event-stream")];
    let (duplex, buffered) = (BodySendMode::FullDuplexStreamed, BodySendMode::Buffered);
    let document = "{\"choices\":[{\"text\":\"a\"}]}";
    for (headers, mode, body, expected) in [
        (&json[..], duplex, document, Some(FirstOutput::Whole)),
        (&json, duplex, "{\"error\":{\"code\":404}}", None),
        (&json, duplex, "{\"choices\":[", None),
        (&compressed, duplex, "\u{1}", Some(FirstOutput::Unread)),
        (&events, duplex, TEXT, Some(FirstOutput::Streamed)),
        (&events, buffered, TEXT, Some(FirstOutput::Whole)),
        (&events, BodySendMode::BufferedPartial, TEXT, Some(FirstOutput::Whole)),
    ] {
        let mut gateway = gateway_after_request(Some(mode));
        gateway.send(response_headers_of(headers));
        let (head, tail) = body.split_at(body.len() / 2);
        let mut observed = match mode {
            BodySendMode::FullDuplexStreamed => gateway.send(response_body(head, false)),
            _ => Vec::new(),
        };
        let rest = if mode == duplex { tail } else { body };
        observed.extend(gateway.send(response_body(rest, true)));
        let seen: Vec<_> = observed
            .into_iter()
            .filter_map(|one| match one {
                Observed::FirstOutput(output) => Some(output),
                _ => None,
            })
            .collect();
        assert_eq!(seen, Vec::from_iter(expected), "{body} {mode:?}");
    }
    let mut gateway = gateway_after_request(Some(BodySendMode::BufferedPartial));
    gateway.send(response_headers_of(&json));
    let observed = gateway.send(response_body("{\"choices\":[", false));
    assert!(observed.contains(&Observed::FirstOutput(FirstOutput::Unread)), "the rest passes unseen");
}

#[test]
fn error_in_the_buffered_part_of_a_response_is_reported() {
    let mut gateway = gateway_after_request(Some(BodySendMode::BufferedPartial));
    gateway.send(response_headers("200", false));
    let error = "data: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n";
    let mut observed = gateway.send(response_body(error, false));
    observed.retain(|one| matches!(one, Observed::FirstOutput(_) | Observed::ErrorReported(_)));
    assert_eq!(observed, [Observed::ErrorReported(Some(503))]);
}
