//! Model rewrites, and the usage in responses.

use std::sync::Arc;

use bytes::Bytes;
use signalbox_extproc::{Config, FirstOutput};
use signalbox_intake::response::Usage;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};
use signalbox_types::{ModelRewrite, Models, Objective, RewriteRule, RewriteTarget};

use crate::gateway::{
    BODY, Gateway, Observed, POST, request, request_body, request_headers, response_body,
    response_headers_of, response_trailers, with_body_modes,
};

const REWRITE: (&str, &str) = ("x-llm-d-model-name-rewrite", "a-much-longer-name");
const REWRITTEN: &str = r#"{"model":"a-much-longer-name","prompt":"hello"}"#;

fn gateway(models: Models) -> Gateway {
    let destination = std::net::SocketAddr::from(([10, 0, 0, 1], 8000)).into();
    Gateway::with(Config { models: Arc::new(models), ..Config::default() }, Ok(destination))
}

fn rewrite(model: &str, target: &str) -> Models {
    let target = RewriteTarget { model: target.to_owned(), weight: None };
    let rules = vec![RewriteRule { models: vec![model.to_owned()], targets: vec![target] }];
    Models::new(Vec::new(), vec![ModelRewrite { name: "r".to_owned(), created_ms: None, rules }])
}

/// Sends a request; returns everything that was observed.
fn send_request(mut gateway: Gateway, messages: [ProcessingRequest; 2]) -> (Gateway, Vec<Observed>) {
    let observed = messages.into_iter().flat_map(|message| gateway.send(message)).collect();
    (gateway, observed)
}

fn model_of(observed: &[Observed]) -> &str {
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    &parsed.request.model
}

fn length_of(observed: &Observed) -> Option<&str> {
    match observed {
        Observed::Routed(routed) | Observed::RoutedWithBody(routed, _) => routed.content_length.as_deref(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn client_may_request_a_rewrite() {
    let (_, observed) = send_request(Gateway::new(), request(&[POST[0], POST[1], REWRITE], BODY));
    assert_eq!("a-much-longer-name", model_of(&observed));
    assert_eq!(Some(REWRITTEN.len().to_string().as_str()), length_of(&observed[1]));
    assert_eq!(observed[2], Observed::RequestChunk(Bytes::from_static(REWRITTEN.as_bytes()), true));
}

#[test]
fn pool_rewrite_takes_precedence_over_the_header() {
    let (_, observed) =
        send_request(gateway(rewrite("llama3", "tuned")), request(&[POST[0], POST[1], REWRITE], BODY));
    assert_eq!("tuned", model_of(&observed));
    let (_, observed) = send_request(gateway(rewrite("other", "tuned")), request(&POST, BODY));
    assert_eq!("llama3", model_of(&observed));
    assert_eq!(observed[2], Observed::RequestChunk(Bytes::from_static(BODY.as_bytes()), true));
}

#[test]
fn rewrite_of_a_buffered_body_sets_the_content_length() {
    let headers = with_body_modes(
        request_headers(&[POST[0], POST[1], REWRITE], false),
        BodySendMode::Buffered,
        BodySendMode::Buffered,
    );
    let (_, observed) = send_request(Gateway::new(), [headers, request_body(BODY, true)]);
    let Observed::RoutedWithBody(routed, Some(body)) = &observed[2] else { panic!("{observed:?}") };
    assert_eq!((REWRITTEN.as_bytes(), Some("47")), (&**body, routed.content_length.as_deref()));
}

#[test]
fn chain_is_seeded_with_the_serving_model() {
    let body = |model: &str| format!(r#"{{"model":"{model}","prompt":"{}"}}"#, "x".repeat(600));
    let chain = |observed: &[Observed]| match &observed[0] {
        Observed::Pick(parsed) => parsed.chain.clone(),
        other => panic!("{other:?}"),
    };
    let (_, rewritten) = send_request(gateway(rewrite("llama3", "tuned")), request(&POST, &body("llama3")));
    let (_, direct) = send_request(Gateway::new(), request(&POST, &body("tuned")));
    assert_eq!(2, chain(&direct).len());
    assert_eq!(chain(&direct), chain(&rewritten));
}

fn responses(mode: BodySendMode, pieces: &[&str], trailers: bool) -> Vec<Observed> {
    let [headers, body] = request(&POST, BODY);
    let headers = with_body_modes(headers, BodySendMode::FullDuplexStreamed, mode);
    let (mut gateway, _) = send_request(gateway(rewrite("llama3", "tuned")), [headers, body]);
    gateway.send(response_headers_of(&[(":status", "200"), ("content-type", "text/event-stream")]));
    let mut observed = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        observed.extend(gateway.send(response_body(*piece, !trailers && at + 1 == pieces.len())));
    }
    if trailers {
        observed.extend(gateway.send(response_trailers()));
    }
    observed
}

/// Returns the text that the client receives for a response in these pieces.
fn client_text(observed: &[Observed], pieces: &[&str]) -> String {
    let mut pieces = pieces.iter().copied();
    let parts = observed.iter().filter_map(|observed| match observed {
        Observed::ResponseChunk(bytes, _) => Some(std::str::from_utf8(bytes).unwrap()),
        Observed::ResponseReplaced(bytes, _) => pieces.next().and(Some(std::str::from_utf8(bytes).unwrap())),
        Observed::ResponsePassed => pieces.next(),
        _ => None,
    });
    parts.collect()
}

#[test]
fn requested_name_is_restored_however_the_response_is_split() {
    let event = "data: {\"model\":\"tuned\",\"x\":1}\n\n";
    for split in 0..event.len() {
        for trailers in [false, true] {
            let (head, tail) = event.split_at(split);
            for mode in [BodySendMode::FullDuplexStreamed, BodySendMode::Streamed] {
                let pieces = [head, tail];
                let observed = responses(mode, &pieces, trailers);
                assert_eq!(
                    event.replace("tuned", "llama3"),
                    client_text(&observed, &pieces),
                    "{mode:?} split at {split}"
                );
            }
        }
    }
}

#[test]
fn only_changed_chunks_are_replaced() {
    let event = "data: {\"model\": \"tuned\",\"choices\":[{\"text\":\"a\"}]}\n\n";
    let observed = responses(BodySendMode::Streamed, &[event, "data: [DONE]\n\n"], false);
    let renamed = Bytes::from(event.replace("tuned", "llama3"));
    assert_eq!(
        observed[..3],
        [
            Observed::ResponseReplaced(renamed, None),
            Observed::FirstOutput(FirstOutput::Streamed),
            Observed::ResponsePassed
        ]
    );
    let observed = responses(BodySendMode::Buffered, &[event], false);
    assert!(
        matches!(&observed[0], Observed::ResponseReplaced(body, Some(length)) if *length == body.len().to_string())
    );
}

#[test]
fn usage_is_reported_before_the_end() {
    let event = r#"data: {"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    let (head, tail) = event.split_at(30);
    let observed = responses(BodySendMode::FullDuplexStreamed, &[head, tail, "\n\n"], false);
    let usage = Usage { prompt_tokens: Some(5), completion_tokens: Some(7), cached_tokens: Some(4) };
    assert_eq!(observed[observed.len() - 2..], [Observed::Usage(usage), Observed::ResponseEnded]);
}

#[test]
fn compressed_response_passes_unchanged() {
    let (mut gateway, _) = send_request(gateway(rewrite("llama3", "tuned")), request(&POST, BODY));
    let headers = [(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")];
    gateway.send(response_headers_of(&headers));
    let body = r#"{"model":"tuned","usage":{"prompt_tokens":1}}"#;
    let expected = [
        Observed::ResponseChunk(Bytes::from_static(body.as_bytes()), true),
        Observed::FirstOutput(FirstOutput::Unread),
        Observed::ResponseEnded,
    ];
    assert_eq!(gateway.send(response_body(body, true)), expected);
}

#[test]
fn session_token_does_not_choose_the_target_of_a_rewrite() {
    let target = |model: &str| RewriteTarget { model: model.to_owned(), weight: Some(1) };
    let rules = vec![RewriteRule { models: Vec::new(), targets: vec![target("one"), target("two")] }];
    let models = Arc::new(Models::new(
        Vec::new(),
        vec![ModelRewrite { name: "r".to_owned(), created_ms: None, rules }],
    ));
    let chosen = |header: (&str, &str)| {
        let config = Config { models: Arc::clone(&models), ..Config::default() };
        let destination = std::net::SocketAddr::from(([10, 0, 0, 1], 8000)).into();
        let gateway = Gateway::with(config, Ok(destination));
        let (_, observed) = send_request(gateway, request(&[POST[0], POST[1], header], BODY));
        model_of(&observed).to_owned()
    };
    let targets = |name: &str| -> std::collections::BTreeSet<_> {
        (0..20).map(|value| chosen((name, &format!("value {value}")))).collect()
    };
    // All requests have the same random number.
    assert_eq!(1, targets("x-session-token").len());
    assert_eq!(2, targets("x-session-id").len());
}

#[test]
fn objective_sets_the_priority() {
    let objectives = vec![Objective { name: "batch".to_owned(), priority: -10 }];
    let models = Models::new(objectives, Vec::new());
    for (headers, priority) in [
        (vec![("x-llm-d-inference-objective", "batch")], -10),
        (vec![("x-gateway-inference-objective", "batch")], -10),
        (vec![("x-llm-d-inference-objective", "unknown")], 0),
        (vec![], 0),
    ] {
        let headers = [&POST[..], &headers].concat();
        let (_, observed) = send_request(gateway(models.clone()), request(&headers, BODY));
        let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
        assert_eq!(priority, parsed.request.priority);
    }
}

#[test]
fn flow_is_the_fairness_id_or_else_the_objective() {
    let (objective, fairness) =
        (("x-llm-d-inference-objective", "batch"), ("x-llm-d-inference-fairness-id", "team"));
    for (headers, flow) in
        [(vec![objective, fairness], Some("team")), (vec![objective], Some("batch")), (vec![], None)]
    {
        let headers = [&POST[..], &headers].concat();
        let (_, observed) = send_request(gateway(Models::default()), request(&headers, BODY));
        let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
        assert_eq!(flow, parsed.request.flow.as_deref());
    }
}
