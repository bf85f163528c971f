//! Gateways that send only the client's headers, as NGINX Gateway Fabric does: no path, no method, no body modes.

use std::sync::Arc;

use signalbox_extproc::{Config, Outcome, Refusal};
use signalbox_intake::{Api, Parsers};
use signalbox_protos::envoy::config::core::v3::{HeaderMap, HeaderValue};
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::{HttpHeaders, ProcessingRequest};

use crate::gateway::{ENDPOINT, Gateway, Observed, request_body};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const MESSAGES: &str =
    r#"{"model":"m","system":"s","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

/// Returns the headers of a client, in the field that is not for raw values.
fn headers() -> ProcessingRequest {
    let header = |(key, value): (&str, &str)| HeaderValue {
        key: key.to_owned(),
        value: value.to_owned(),
        ..HeaderValue::default()
    };
    let names = [("Content-Type", "application/json"), ("X-Request-Id", "r1"), ("X-Epp-Port", "9002")];
    let headers = Some(HeaderMap { headers: names.map(header).into() });
    Request::RequestHeaders(HttpHeaders { headers, end_of_stream: false }).into()
}

fn ask(mut gateway: Gateway, body: &str) -> (Vec<Observed>, Outcome) {
    assert_eq!(gateway.send(headers()), []);
    let observed = gateway.send(request_body(body, true));
    assert_eq!(gateway.conversation.request_id(), Some("r1"));
    gateway.conversation.half_close();
    let outcome = gateway.conversation.outcome();
    (observed, outcome)
}

#[test]
fn body_tells_the_api_and_the_response_is_not_awaited() {
    for (body, api) in [
        (CHAT, Api::Chat),
        (MESSAGES, Api::Messages),
        (r#"{"model":"m","input":["a"]}"#, Api::Embeddings),
        (r#"{"query":"a","documents":["b"]}"#, Api::Opaque),
        ("--part\r\ncontent-type: audio/wav", Api::Opaque),
    ] {
        let (observed, outcome) = ask(Gateway::new(), body);
        let [Observed::Pick(parsed), Observed::Routed(routed), Observed::RequestChunk(..)] = &observed[..]
        else {
            panic!("{observed:?}")
        };
        assert_eq!((api, ENDPOINT), (parsed.api, routed.destination.as_str()), "{body}");
        assert_eq!(api == Api::Opaque, parsed.chain.is_empty() && parsed.request.model.is_empty(), "{body}");
        assert_eq!(Outcome::Hidden, outcome, "{body}");
    }
}

#[test]
fn body_that_no_engine_reads_is_refused() {
    for (body, problem) in [
        (r#"{"model":"m","messages":["#, "error unmarshaling request bodyMap: the body is truncated: EOF"),
        (r#"{"messages":[{"role":"user","content":"a"}],"system":"s"}"#, "model not found"),
    ] {
        let (observed, outcome) = ask(Gateway::new(), body);
        let [Observed::Refused { status: 400, body: told, .. }, Observed::Close] = &observed[..] else {
            panic!("{observed:?}")
        };
        assert!(told.contains(problem), "{told}");
        assert_eq!(Outcome::Refused, outcome);
    }
}

#[test]
fn api_that_the_body_tells_needs_a_listed_parser() {
    let parsers = Arc::new(Parsers::new(["openai-parser".to_owned()]));
    let gateway =
        || Gateway::with(Config { parsers: parsers.clone(), ..Config::default() }, Err(Refusal::NoEndpoint));
    assert!(matches!(ask(gateway(), CHAT).0[0], Observed::Pick(_)));
    let refused = ask(gateway(), MESSAGES).0;
    let [Observed::Refused { status: 400, body, .. }, Observed::Close] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert!(body.contains("no parser registered"), "{body}");
}
