//! Models that are served under other names, and what responses say.

use std::sync::Arc;

use bytes::Bytes;
use signalbox_extproc::Config;
use signalbox_intake::answer::Usage;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};
use signalbox_types::{ModelRewrite, Models, Objective, RewriteRule, RewriteTarget};

use crate::gateway::{
    BODY, Gateway, POST, Seen, request, request_body, request_headers, response_body, response_headers_of,
    response_trailers, telling,
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

/// What came after the pick.
fn sent(mut gateway: Gateway, messages: [ProcessingRequest; 2]) -> (Gateway, Vec<Seen>) {
    let seen = messages.into_iter().flat_map(|message| gateway.say(message)).collect();
    (gateway, seen)
}

fn model_of(seen: &[Seen]) -> &str {
    let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
    &intake.request.model
}

fn length_of(seen: &Seen) -> Option<&str> {
    match seen {
        Seen::Routed(routed) | Seen::RoutedWithBody(routed, _) => routed.content_length.as_deref(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_may_name_another_model() {
    let (_, seen) = sent(Gateway::new(), request(&[POST[0], POST[1], REWRITE], BODY));
    assert_eq!("a-much-longer-name", model_of(&seen));
    assert_eq!(Some(REWRITTEN.len().to_string().as_str()), length_of(&seen[1]));
    assert_eq!(seen[2], Seen::RequestChunk(Bytes::from_static(REWRITTEN.as_bytes()), true));
}

#[test]
fn what_the_pool_says_comes_before_what_the_client_asks_for() {
    let (_, seen) = sent(gateway(rewrite("llama3", "tuned")), request(&[POST[0], POST[1], REWRITE], BODY));
    assert_eq!("tuned", model_of(&seen));
    let (_, seen) = sent(gateway(rewrite("other", "tuned")), request(&POST, BODY));
    assert_eq!("llama3", model_of(&seen));
    assert_eq!(seen[2], Seen::RequestChunk(Bytes::from_static(BODY.as_bytes()), true));
}

#[test]
fn in_a_buffered_body_too_and_its_length_is_told() {
    let told = telling(
        request_headers(&[POST[0], POST[1], REWRITE], false),
        BodySendMode::Buffered,
        BodySendMode::Buffered,
    );
    let (_, seen) = sent(Gateway::new(), [told, request_body(BODY, true)]);
    let Seen::RoutedWithBody(routed, Some(body)) = &seen[2] else { panic!("{seen:?}") };
    assert_eq!((REWRITTEN.as_bytes(), Some("47")), (&**body, routed.content_length.as_deref()));
}

#[test]
fn the_chain_of_a_prompt_is_that_of_the_model_that_serves_it() {
    let body = |model: &str| format!(r#"{{"model":"{model}","prompt":"{}"}}"#, "x".repeat(600));
    let chain = |seen: &[Seen]| match &seen[0] {
        Seen::Picking(intake) => intake.chain.clone(),
        other => panic!("{other:?}"),
    };
    let (_, rewritten) = sent(gateway(rewrite("llama3", "tuned")), request(&POST, &body("llama3")));
    let (_, direct) = sent(Gateway::new(), request(&POST, &body("tuned")));
    assert_eq!(2, chain(&direct).len());
    assert_eq!(chain(&direct), chain(&rewritten));
}

fn responses(mode: BodySendMode, pieces: &[&str], trailers: bool) -> Vec<Seen> {
    let [headers, body] = request(&POST, BODY);
    let headers = telling(headers, BodySendMode::FullDuplexStreamed, mode);
    let (mut gateway, _) = sent(gateway(rewrite("llama3", "tuned")), [headers, body]);
    gateway.say(response_headers_of(&[(":status", "200"), ("content-type", "text/event-stream")]));
    let mut seen = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        seen.extend(gateway.say(response_body(*piece, !trailers && at + 1 == pieces.len())));
    }
    if trailers {
        seen.extend(gateway.say(response_trailers()));
    }
    seen
}

/// What the client reads of a response in these pieces.
fn text(seen: &[Seen], pieces: &[&str]) -> String {
    let mut pieces = pieces.iter().copied();
    let parts = seen.iter().filter_map(|seen| match seen {
        Seen::ResponseChunk(bytes, _) => Some(std::str::from_utf8(bytes).unwrap()),
        Seen::ResponseBody(bytes, _) => pieces.next().and(Some(std::str::from_utf8(bytes).unwrap())),
        Seen::ResponseNod => pieces.next(),
        _ => None,
    });
    parts.collect()
}

#[test]
fn the_client_reads_the_name_that_it_asked_for_however_the_response_is_cut() {
    let event = "data: {\"model\":\"tuned\",\"x\":1}\n\n";
    for cut in 0..event.len() {
        for trailers in [false, true] {
            let (head, tail) = event.split_at(cut);
            for mode in [BodySendMode::FullDuplexStreamed, BodySendMode::Streamed] {
                let pieces = [head, tail];
                let seen = responses(mode, &pieces, trailers);
                assert_eq!(event.replace("tuned", "llama3"), text(&seen, &pieces), "{mode:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn where_each_chunk_has_one_answer_only_what_changes_has_another_body() {
    let event = "data: {\"model\": \"tuned\"}\n\n";
    let seen = responses(BodySendMode::Streamed, &[event, "data: [DONE]\n\n"], false);
    let other = Bytes::from(event.replace("tuned", "llama3"));
    assert_eq!(seen[..3], [Seen::ResponseBody(other, None), Seen::FirstChunk, Seen::ResponseNod]);
    let seen = responses(BodySendMode::Buffered, &[event], false);
    assert!(matches!(&seen[0], Seen::ResponseBody(body, Some(length)) if *length == body.len().to_string()));
}

#[test]
fn what_a_response_used_is_told_before_its_end() {
    let usage = r#"data: {"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    let (head, tail) = usage.split_at(30);
    let seen = responses(BodySendMode::FullDuplexStreamed, &[head, tail, "\n\n"], false);
    let used = Usage { prompt_tokens: Some(5), completion_tokens: Some(7), cached_tokens: Some(4) };
    assert_eq!(seen[seen.len() - 2..], [Seen::Usage(used), Seen::Ended]);
}

#[test]
fn a_compressed_response_passes_untouched() {
    let (mut gateway, _) = sent(gateway(rewrite("llama3", "tuned")), request(&POST, BODY));
    let headers = [(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")];
    gateway.say(response_headers_of(&headers));
    let body = r#"{"model":"tuned","usage":{"prompt_tokens":1}}"#;
    let expected =
        [Seen::ResponseChunk(Bytes::from_static(body.as_bytes()), true), Seen::FirstChunk, Seen::Ended];
    assert_eq!(gateway.say(response_body(body, true)), expected);
}

#[test]
fn an_objective_gives_a_request_its_priority() {
    let objectives = vec![Objective { name: "batch".to_owned(), priority: -10 }];
    let models = Models::new(objectives, Vec::new());
    for (headers, priority) in [
        (vec![("x-llm-d-inference-objective", "batch")], -10),
        (vec![("x-gateway-inference-objective", "batch")], -10),
        (vec![("x-llm-d-inference-objective", "unheard-of")], 0),
        (vec![], 0),
    ] {
        let headers = [&POST[..], &headers].concat();
        let (_, seen) = sent(gateway(models.clone()), request(&headers, BODY));
        let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
        assert_eq!(priority, intake.request.priority);
    }
}
