//! Requests whose bodies are not read: uploads, unknown paths, WebSockets, gRPC in both directions.

use bytes::Bytes;
use signalbox_extproc::{BodyBudget, Config, Destination, Event, Outcome};
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    ENDPOINT, GENERATED_ID, Gateway, Observed, Routed, request_body, request_headers, request_trailers,
    response_body, response_headers, response_trailers, with_body_modes,
};

const UPLOAD: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/files")];
const WEB_SOCKET: [(&str, &str); 4] =
    [(":method", "GET"), (":path", "/v1/realtime"), ("upgrade", "websocket"), ("connection", "upgrade")];
const GRPC: [(&str, &str); 3] = [
    (":method", "POST"),
    (":path", "/inference.GRPCInferenceService/ModelStreamInfer"),
    ("content-type", "application/grpc"),
];
const AUDIO: [(&str, &str); 3] = [
    (":method", "POST"),
    (":path", "/v1/audio/transcriptions"),
    ("content-type", "multipart/form-data; boundary=x"),
];
const PUT: [(&str, &str); 2] = [(":method", "PUT"), (":path", "/v1/completions")];

fn routed(content_length: Option<&str>) -> Observed {
    Observed::Routed(Routed {
        destination: ENDPOINT.to_owned(),
        content_length: content_length.map(str::to_owned),
        request_id: Some(GENERATED_ID.to_owned()),
        removed: Vec::new(),
    })
}

fn destination() -> Destination {
    ENDPOINT.parse::<std::net::SocketAddr>().unwrap().into()
}

/// Returns a gateway whose picker holds at most 10 bytes.
fn small_gateway() -> (Gateway, BodyBudget) {
    let body_budget = BodyBudget::new(10);
    let config = Config { body_limit_bytes: 10, body_budget: body_budget.clone(), ..Config::default() };
    (Gateway::with(config, Ok(destination())), body_budget)
}

fn in_mode(headers: ProcessingRequest, mode: BodySendMode) -> ProcessingRequest {
    with_body_modes(headers, mode, BodySendMode::FullDuplexStreamed)
}

#[test]
fn opaque_request_is_routed_at_its_headers_and_its_body_passes_as_it_comes() {
    for headers in [&UPLOAD[..], &WEB_SOCKET, &GRPC, &AUDIO, &PUT] {
        let (mut gateway, body_budget) = small_gateway();
        let expected = [Observed::Pick(Box::default()), routed(None)];
        assert_eq!(gateway.send(request_headers(headers, false)), expected, "{headers:?}");
        for (piece, end) in
            [(vec![1; 40], false), (Vec::new(), false), (vec![0xff; 62_000], false), (vec![], true)]
        {
            let chunk = Observed::RequestChunk(piece.clone().into(), end);
            assert_eq!(gateway.send(request_body(piece, end)), [chunk], "{headers:?}");
            assert_eq!(0, body_budget.held_bytes());
        }
        assert_eq!(Outcome::Aborted, gateway.conversation.outcome());
    }
}

#[test]
fn buffered_opaque_body_passes_without_being_kept() {
    for mode in [BodySendMode::Buffered, BodySendMode::BufferedPartial, BodySendMode::Streamed] {
        for headers in [&UPLOAD[..], &WEB_SOCKET, &GRPC, &AUDIO, &PUT] {
            let (mut gateway, body_budget) = small_gateway();
            let headers = in_mode(request_headers(headers, false), mode);
            assert_eq!(gateway.send(headers), [Observed::Pick(Box::default()), routed(None)], "{mode:?}");
            assert_eq!(
                gateway.send(request_body(vec![0; 100_000], true)),
                [Observed::RequestPassed],
                "{mode:?}"
            );
            assert_eq!(0, body_budget.held_bytes());
        }
    }
}

#[test]
fn announced_length_is_passed_on_and_not_limited() {
    let (mut gateway, _) = small_gateway();
    let headers = [UPLOAD[0], UPLOAD[1], ("content-length", "5000000000")];
    assert_eq!(gateway.send(request_headers(&headers, false))[1], routed(Some("5000000000")));
}

#[test]
fn long_opaque_chunk_is_split_without_a_copy() {
    let body = vec![b'x'; 125_000];
    let start = body.as_ptr();
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&UPLOAD, false));
    let observed = gateway.send(request_body(body, true));
    let lengths = observed.iter().map(|observed| match observed {
        Observed::RequestChunk(chunk, end) => (chunk.len(), *end),
        other => panic!("{other:?}"),
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [(62_000, false), (62_000, false), (1_000, true)]);
    let Observed::RequestChunk(first, _) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!(first.as_ptr(), start);
}

#[test]
fn both_directions_of_a_stream_pass_at_the_same_time() {
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&GRPC, false));
    gateway.send(response_headers("200", false));
    for turn in 0..3 {
        let (asked, answered) = (vec![turn; 10], vec![turn + 100; 10]);
        let chunk = Observed::RequestChunk(Bytes::from(asked.clone()), false);
        assert_eq!(gateway.send(request_body(asked, false)), [chunk]);
        let observed = gateway.send(response_body(answered.clone(), false));
        assert_eq!(observed[0], Observed::ResponseChunk(answered.into(), false));
    }
    assert_eq!(gateway.send(request_trailers()), [Observed::RequestTrailers]);
    assert_eq!(gateway.send(response_trailers()), [Observed::ResponseTrailers, Observed::ResponseEnded]);
    assert_eq!(Outcome::Complete, gateway.conversation.outcome());
}

#[test]
fn body_is_held_back_until_the_endpoint_is_picked() {
    let mut gateway = Gateway::new();
    gateway.step(Event::Message(request_headers(&UPLOAD, false)));
    assert!(gateway.conversation.holds_body_back());
    gateway.step(Event::Picked(Ok(destination())));
    assert!(!gateway.conversation.holds_body_back());
    gateway.step(Event::Message(in_mode(request_headers(&UPLOAD, false), BodySendMode::Buffered)));
    assert!(!gateway.conversation.holds_body_back(), "the gateway waits by itself");
}
