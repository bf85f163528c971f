//! Requests for models that exist only as sources of rewrites, where their names cannot be replaced.

use std::sync::Arc;

use bytes::Bytes;
use signalbox_extproc::{BodyBudget, Config, Outcome};
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};
use signalbox_types::{ModelKey, ModelRewrite, Models, RewriteRule, RewriteTarget, ServedModels, TokenRatio};

use crate::gateway::{
    ENDPOINT, Gateway, Observed, POST, request, request_body, request_headers, request_trailers,
    response_headers, with_body_modes,
};

const ALIAS: &str = r#"{"model":"alias","prompt":"hello"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const UNKNOWN_PATH: [(&str, &str); 3] = [(":method", "POST"), (":path", "/v1/unheard-of"), JSON];

/// Returns a configuration with a rewrite from `alias` to `one` or `two`, and one of all other models to `m`.
fn config() -> Config {
    let target = |model: &str| RewriteTarget { model: model.to_owned(), weight: None };
    let named = RewriteRule { models: vec!["alias".to_owned()], targets: vec![target("one"), target("two")] };
    let rules = vec![named, RewriteRule { models: Vec::new(), targets: vec![target("m")] }];
    let rewrite = ModelRewrite { name: "r".to_owned(), created_ms: None, rules };
    Config { models: Arc::new(Models::new(Vec::new(), vec![rewrite])), ..Config::default() }
}

fn gateway(config: Config) -> Gateway {
    Gateway::with(config, Ok(ENDPOINT.parse::<std::net::SocketAddr>().unwrap().into()))
}

fn in_mode(headers: &[(&str, &str)], mode: BodySendMode) -> ProcessingRequest {
    with_body_modes(request_headers(headers, false), mode, BodySendMode::FullDuplexStreamed)
}

/// Sends messages and returns what the last one led to.
fn last(gateway: &mut Gateway, messages: impl IntoIterator<Item = ProcessingRequest>) -> Vec<Observed> {
    messages.into_iter().map(|message| gateway.send(message)).last().unwrap()
}

#[track_caller]
fn assert_refused(observed: &[Observed], code: &str, reason: &str) {
    let [Observed::Refused { status: 400, body, reason: None, retry_after: None }, Observed::Close] =
        observed
    else {
        panic!("{observed:?}")
    };
    let start = format!(
        "{code} - the model `alias` exists only as a model rewrite in the endpoint picker, and cannot be rewritten here: "
    );
    assert!(body.starts_with(&start) && body.contains("Request `one` or `two` instead"), "{body}");
    assert!(body.contains(reason), "{body}");
}

#[test]
fn streamed_body_is_refused_at_the_chunk_that_shows_the_model() {
    let long = format!(r#"{{"prompt":"{}","model":"alias"}}"#, "x".repeat(3_000));
    for (chunks, refused_at) in [
        (vec![ALIAS], 0),
        (vec![&ALIAS[..20], &ALIAS[20..]], 0),
        (vec![&ALIAS[..12], &ALIAS[12..]], 1),
        (vec![&long[..1_000], &long[1_000..2_000], &long[2_000..]], 2),
        (vec![&long[..1_000], &long[1_000..], ""], 2),
    ] {
        let mut gateway = gateway(config());
        let observed = gateway.send(in_mode(&POST, BodySendMode::Streamed));
        assert!(matches!(observed[..], [Observed::Pick(_), Observed::Routed(_)]), "{observed:?}");
        for (at, chunk) in chunks.iter().enumerate().take(refused_at) {
            let observed = gateway.send(request_body(*chunk, at + 1 == chunks.len()));
            assert_eq!(observed, [Observed::RequestPassed], "{chunks:?}");
        }
        let observed = gateway.send(request_body(chunks[refused_at], refused_at + 1 == chunks.len()));
        assert_refused(&observed, "BadRequest", "FULL_DUPLEX_STREAMED or BUFFERED");
        assert_eq!(Outcome::Refused, gateway.conversation.outcome());
    }
}

#[test]
fn streamed_body_is_refused_when_it_has_its_announced_length() {
    let late = r#"{"prompt":"hello","model":"alias"}"#;
    let length = late.len().to_string();
    let mut gateway = gateway(config());
    gateway.send(in_mode(&[POST[0], POST[1], ("content-length", &length)], BodySendMode::Streamed));
    assert_eq!(gateway.send(request_body(&late[..20], false)), [Observed::RequestPassed]);
    assert_refused(&gateway.send(request_body(&late[20..], false)), "BadRequest", "does not wait");
}

#[test]
fn streamed_body_before_trailers_is_refused_at_the_trailers() {
    let late = r#"{"prompt":"hello","model":"alias"}"#;
    let mut gateway = gateway(config());
    gateway.send(in_mode(&POST, BodySendMode::Streamed));
    for piece in [&late[..20], &late[20..]] {
        assert_eq!(gateway.send(request_body(piece, false)), [Observed::RequestPassed]);
    }
    assert_refused(&gateway.send(request_trailers()), "BadRequest", "does not wait");
}

#[test]
fn streamed_forms_and_compressed_bodies_are_read_too() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nalias\r\n--b--\r\n";
    let upload = [
        (":method", "POST"),
        (":path", "/v1/audio/transcriptions"),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    let messages = [in_mode(&upload, BodySendMode::Streamed), request_body(form, true)];
    assert_refused(&last(&mut gateway(config()), messages), "BadRequest", "does not wait");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, ALIAS.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let (head, tail) = packed.split_at(12);
    let headers = [POST[0], POST[1], ("content-encoding", "gzip")];
    let messages =
        [in_mode(&headers, BodySendMode::Streamed), request_body(head, false), request_body(tail, true)];
    assert_refused(&last(&mut gateway(config()), messages), "BadRequest", "does not wait");
}

#[test]
fn json_for_an_unknown_path_is_refused_in_every_mode_that_shows_it() {
    use BodySendMode::{Buffered, BufferedPartial, FullDuplexStreamed, Streamed};
    for mode in [FullDuplexStreamed, Buffered, BufferedPartial, Streamed] {
        let messages = [in_mode(&UNKNOWN_PATH, mode), request_body(ALIAS, true)];
        assert_refused(
            &last(&mut gateway(config()), messages),
            "BadRequest",
            "does not change bodies of this path",
        );
    }
}

#[test]
fn part_that_names_the_model_is_refused() {
    let messages = [in_mode(&POST, BodySendMode::BufferedPartial), request_body(&ALIAS[..25], false)];
    assert_refused(&last(&mut gateway(config()), messages), "BadRequest", "let the gateway buffer more");
}

#[test]
fn path_or_header_that_names_the_model_is_refused() {
    for path in ["/v1/models/alias", "/v1/realtime?model=alias", "/v2/models/alias/infer"] {
        let headers = [(":method", "GET"), (":path", path)];
        let observed = gateway(config()).send(request_headers(&headers, true));
        assert_refused(&observed, "BadRequest", "the path names it");
        let upgrade = [headers[0], headers[1], ("upgrade", "websocket")];
        let observed = gateway(config()).send(request_headers(&upgrade, false));
        assert_refused(&observed, "BadRequest", "the path names it");
    }
    for header in ["x-gateway-model-name", "X-AI-EG-Model"] {
        let headers = in_mode(&[POST[0], POST[1], (header, "alias")], BodySendMode::None);
        assert_refused(&gateway(config()).send(headers), "BadRequest", "FULL_DUPLEX_STREAMED or BUFFERED");
        // Here the body is read, and tells more.
        let headers = request_headers(&[POST[0], POST[1], (header, "alias")], false);
        assert_eq!(gateway(config()).send(headers), []);
    }
}

#[test]
fn gateway_that_takes_no_changes_gets_a_refusal() {
    for body in [
        r#"{"model":"alias","messages":[{"role":"user","content":"hello"}]}"#,
        r#"{"model":"alias","query":"a","documents":["b"]}"#,
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nalias\r\n--b--\r\n",
    ] {
        let messages = [request_headers(&[JSON], false), request_body(body, true)];
        assert_refused(
            &last(&mut gateway(config()), messages),
            "BadRequest",
            "lets the endpoint picker change no body",
        );
    }
}

#[test]
fn gateway_that_takes_no_changes_sends_what_the_picker_counts() {
    let body = r#"{"model":"other","prompt":"hello"}"#;
    let observed = last(&mut gateway(config()), [request_headers(&[JSON], false), request_body(body, true)]);
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!(("other", None), (parsed.request.model.as_str(), parsed.requested_model.as_deref()));
    assert_eq!(observed[2], Observed::RequestChunk(Bytes::from(body), true));
}

#[test]
fn targets_that_are_never_chosen_are_not_recommended() {
    let targets = [("one", Some(1)), ("never", None), ("two", Some(3))];
    let target = |(model, weight): (&str, _)| RewriteTarget { model: model.to_owned(), weight };
    let rules = vec![RewriteRule { models: vec!["alias".to_owned()], targets: targets.map(target).to_vec() }];
    let rewrite = ModelRewrite { name: "r".to_owned(), created_ms: None, rules };
    let weighted = Config { models: Arc::new(Models::new(Vec::new(), vec![rewrite])), ..Config::default() };
    assert_refused(&streamed(weighted, "alias"), "BadRequest", "Request `one` or `two` instead");
}

#[test]
fn refusals_speak_the_clients_dialect() {
    let anthropic = [(":method", "POST"), (":path", "/v1/messages"), JSON];
    let messages = [in_mode(&anthropic, BodySendMode::Streamed), request_body(ALIAS, true)];
    assert_refused(&last(&mut gateway(config()), messages), "invalid_request_error", "does not wait");
}

/// Returns what a streamed request for `model` leads to.
fn streamed(config: Config, model: &str) -> Vec<Observed> {
    let body = ALIAS.replace("alias", model);
    last(&mut gateway(config), [in_mode(&POST, BodySendMode::Streamed), request_body(body, true)])
}

#[test]
fn model_that_may_be_at_an_endpoint_passes() {
    let passed = [Observed::RequestPassed];
    for model in ["one", "m", "other"] {
        assert_eq!(streamed(config(), model), passed, "{model}");
    }
    let adapters = ServedModels { adapters: Arc::new(["alias".into()].into()), ..ServedModels::default() };
    assert_eq!(streamed(Config { served_models: adapters, ..config() }, "alias"), passed);
    let with_usage = Arc::new([(ModelKey::of("alias"), TokenRatio::default())].into());
    let seen = ServedModels { with_usage, ..ServedModels::default() };
    assert_eq!(streamed(Config { served_models: seen, ..config() }, "alias"), passed);
}

#[test]
fn body_that_can_be_rewritten_is() {
    let messages = request(&[POST[0], POST[1], ("x-gateway-model-name", "alias")], ALIAS);
    let observed = last(&mut gateway(config()), messages);
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!(Some("alias"), parsed.requested_model.as_deref());
    assert!(matches!(observed[1], Observed::Routed(_)), "{observed:?}");
}

#[test]
fn search_ends_at_the_budget_and_with_the_response() {
    let late = r#"{"prompt":"hello","model":"alias"}"#;
    // An eighth of it is for such bodies.
    let body_budget = BodyBudget::new(8 * 30);
    let config = Config { body_budget: body_budget.clone(), ..config() };
    let mut full = gateway(config.clone());
    full.send(in_mode(&POST, BodySendMode::Streamed));
    full.send(request_body(&late[..20], false));
    assert_eq!(20, body_budget.held_bytes());
    assert_eq!(full.send(request_body(&late[20..], true)), [Observed::RequestPassed]);
    assert_eq!(0, body_budget.held_bytes());
    let mut answered = gateway(config);
    answered.send(in_mode(&POST, BodySendMode::Streamed));
    answered.send(request_body(&late[..20], false));
    answered.send(response_headers("413", false));
    assert_eq!(0, body_budget.held_bytes());
    assert_eq!(answered.send(request_body(&late[20..28], true)), [Observed::RequestPassed]);
}

#[test]
fn uploads_that_are_searched_leave_the_budget_to_bodies_that_are_read() {
    let body_budget = BodyBudget::new(400);
    let config = Config { body_budget: body_budget.clone(), ..config() };
    let upload = format!(r#"{{"input":"{}"#, "x".repeat(30));
    let mut uploads: Vec<_> = (0..20).map(|_| gateway(config.clone())).collect();
    for upload_gateway in &mut uploads {
        upload_gateway.send(request_headers(&UNKNOWN_PATH, false));
        let echoed = upload_gateway.send(request_body(upload.clone(), false));
        assert_eq!(echoed, [Observed::RequestChunk(Bytes::from(upload.clone()), false)]);
    }
    assert_eq!(upload.len() as u64, body_budget.held_bytes(), "one is still searched");
    let body = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(350));
    let observed = last(&mut gateway(config), request(&POST, &body));
    assert!(matches!(observed[..], [Observed::Pick(_), Observed::Routed(_), ..]), "{observed:?}");
}
