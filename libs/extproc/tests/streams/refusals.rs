//! Refusals: their messages, and that nothing follows them.

use std::net::SocketAddr;

use signalbox_extproc::{BodyBudget, Config, Event, Outcome, Refusal};
use signalbox_flow::DropReason;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    BODY, ENDPOINT, Gateway, Observed, POST, request, request_body, request_headers, request_trailers,
    response_body, response_headers, with_body_modes,
};

const CHAT: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];

fn refused(status: i32, body: &str, reason: Option<&str>) -> [Observed; 2] {
    let retry_after = (status == 429).then(|| "1".to_owned());
    let (body, reason) = (body.to_owned(), reason.map(str::to_owned));
    [Observed::Refused { status, body, reason, retry_after }, Observed::Close]
}

/// Sends the messages; returns what was observed after the last one.
fn send_all(mut gateway: Gateway, messages: impl IntoIterator<Item = ProcessingRequest>) -> Vec<Observed> {
    messages.into_iter().map(|message| gateway.send(message)).last().unwrap()
}

#[test]
fn invalid_bodies_are_refused_with_400() {
    for (headers, body, message) in [
        (POST, r#"{"prompt":"p","model":7}"#, "invalid model in request body: it must be a string"),
        (POST, r#"{"model":"m"}"#, "invalid completions request: must have prompt field"),
        (CHAT, r#"{"model":"m"}"#, "invalid chat completions request: must have valid messages field"),
        (POST, "[]", "error unmarshaling request bodyMap: the body is not a JSON object"),
        (
            POST,
            "no healthy upstream",
            "error unmarshaling request bodyMap: expected ident at line 1 column 2",
        ),
    ] {
        let text = format!("BadRequest - {message}");
        assert_eq!(send_all(Gateway::new(), request(&headers, body)), refused(400, &text, None));
    }
}

#[test]
fn errors_are_written_as_the_client_expects_them() {
    let path = |path| [(":method", "POST"), (":path", path), ("content-type", "application/json")];
    let grpc = ("content-type", "application/grpc");
    for (headers, expected) in [
        (path("/v1/completions"), "ServiceUnavailable"),
        (path("/v1/unknown"), "ServiceUnavailable"),
        (path("/v1/messages/count_tokens"), "overloaded_error"),
        (
            path("/grpc.Service/Call").map(|header| if header.0 == grpc.0 { grpc } else { header }),
            "inference error: ServiceUnavailable",
        ),
    ] {
        let mut gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
        // A request whose body is not read is refused at its headers.
        let observed: Vec<_> =
            request(&headers, BODY).into_iter().flat_map(|message| gateway.send(message)).collect();
        let text = format!("{expected} - failed to find endpoint candidates for serving the request");
        assert_eq!(observed[1..], refused(503, &text, Some("rejected-no-endpoints")), "{headers:?}");
    }
    let observed = send_all(Gateway::new(), request(&path("/v1/messages"), r#"{"model":"m"}"#));
    let text = "invalid_request_error - invalid messages request: must have at least one message";
    assert_eq!(observed, refused(400, text, None));
}

#[test]
fn post_without_a_body_is_refused() {
    let observed = Gateway::new().send(request_headers(&POST, true));
    let text = "BadRequest - error unmarshaling request bodyMap: the body is empty";
    assert_eq!(observed, refused(400, text, None));
}

#[test]
fn truncated_body_is_refused() {
    let content_length = (BODY.len() + 5).to_string();
    let [method, path] = POST;
    let observed =
        send_all(Gateway::new(), request(&[method, path, ("content-length", &content_length)], BODY));
    let text = "BadRequest - request body is truncated: received 35 of 40 bytes";
    assert_eq!(observed, refused(400, text, None));
}

#[test]
fn missing_endpoint_is_refused_with_503() {
    let text = "ServiceUnavailable - \
                failed to find endpoint candidates for serving the request";
    let expected = refused(503, text, Some("rejected-no-endpoints"));
    let gateway = || Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
    assert_eq!(send_all(gateway(), request(&POST, BODY))[1..], expected);
    assert_eq!(gateway().send(request_headers(&[(":method", "GET")], true))[1..], expected);
}

#[test]
fn saturation_is_refused_with_429() {
    let text = "ResourceExhausted - no endpoints available for the given request";
    let expected = refused(429, text, Some("rejected-saturated"));
    let gateway = Gateway::with(Config::default(), Err(Refusal::Saturated));
    assert_eq!(send_all(gateway, request(&POST, BODY))[1..], expected);
}

#[test]
fn too_long_body_is_refused_before_it_is_buffered() {
    let expected = refused(413, "PayloadTooLarge - request body is longer than 10 bytes", None);
    let config = Config { body_limit_bytes: 10, ..Config::default() };
    let gateway = || Gateway::with(config.clone(), Err(Refusal::NoEndpoint));
    let headers = request_headers(&POST, false);
    let bodies = [headers.clone(), request_body("12345", false), request_body("123456", false)];
    assert_eq!(send_all(gateway(), bodies), expected);
    let announced = request_headers(&[POST[0], POST[1], ("content-length", "11")], false);
    assert_eq!(gateway().send(announced), expected);
    let longest = send_all(gateway(), [headers, request_body("1234567890", true)]);
    assert!(matches!(longest[0], Observed::Refused { status: 400, .. }), "it was read: {longest:?}");
}

#[test]
fn bodies_beyond_the_shared_budget_are_refused() {
    let body_budget = BodyBudget::new(50);
    let config = Config { body_budget: body_budget.clone(), retry_after_s: 7, ..Config::default() };
    let gateway = || Gateway::with(config.clone(), Err(Refusal::NoEndpoint));
    let headers = || request_headers(&POST, false);
    let mut first = gateway();
    first.send(headers());
    assert_eq!(first.send(request_body(BODY, false)), []);
    assert_eq!(BODY.len() as u64, body_budget.held_bytes());
    let body = "ServiceUnavailable - the endpoint picker is buffering too many request bodies; retry later";
    let expected = Observed::Refused {
        status: 503,
        body: body.to_owned(),
        reason: Some("rejected-saturated".to_owned()),
        retry_after: Some("7".to_owned()),
    };
    assert_eq!(send_all(gateway(), [headers(), request_body(BODY, true)]), [expected, Observed::Close]);
    drop(first);
    assert_eq!(0, body_budget.held_bytes());
    assert!(matches!(send_all(gateway(), [headers(), request_body(BODY, true)])[0], Observed::Pick(_)));
}

#[test]
fn body_counts_until_the_gateway_has_received_it() {
    for mode in [BodySendMode::FullDuplexStreamed, BodySendMode::Buffered] {
        let body_budget = BodyBudget::new(1_000);
        let config = Config { body_budget: body_budget.clone(), ..Config::default() };
        let mut gateway = Gateway::with(config, Ok(ENDPOINT.parse::<SocketAddr>().unwrap().into()));
        gateway.send(with_body_modes(request_headers(&POST, false), mode, mode));
        gateway.conversation.release_sent_body();
        gateway.send(request_body(BODY, true));
        assert_eq!(BODY.len() as u64, body_budget.held_bytes(), "{mode:?}");
        gateway.conversation.release_sent_body();
        assert_eq!(0, body_budget.held_bytes(), "{mode:?}");
    }
}

#[test]
fn budget_counts_the_capacity_and_the_copy_with_another_model() {
    let body_budget = BodyBudget::new(1 << 20);
    let config = Config { body_budget: body_budget.clone(), ..Config::default() };
    let destination = ENDPOINT.parse::<SocketAddr>().unwrap().into();
    let mut gateway = Gateway::with(config, Ok(destination));
    let body = format!(r#"{{"model":"m","prompt":"{}"}}"#, "p".repeat(2_000));
    let length = body.len().to_string();
    let rewrite = ("x-llm-d-model-name-rewrite", "tuned");
    gateway.send(request_headers(&[POST[0], POST[1], ("content-length", &length), rewrite], false));
    gateway.send(request_body(&body[..500], false));
    assert_eq!(500, body_budget.held_bytes());
    gateway.send(request_body(&body[500..600], false));
    assert_eq!(body.len() as u64, body_budget.held_bytes(), "the buffer for the whole body");
    gateway.step(Event::Message(request_body(&body[600..], true)));
    let copied = body.len() + body.len() + "tuned".len();
    assert_eq!(copied as u64, body_budget.held_bytes(), "the body and its copy");
    gateway.step(Event::Picked(Ok(ENDPOINT.parse::<SocketAddr>().unwrap().into())));
    let sent = body.len() - r#""m""#.len() + r#""tuned""#.len();
    assert_eq!(sent as u64, body_budget.held_bytes(), "the copy");
    gateway.conversation.release_sent_body();
    assert_eq!(0, body_budget.held_bytes());
}

#[test]
fn copy_beyond_the_budget_is_refused() {
    let config = Config { body_budget: BodyBudget::new(BODY.len() as u64 + 10), ..Config::default() };
    let destination = ENDPOINT.parse::<SocketAddr>().unwrap().into();
    let gateway = Gateway::with(config.clone(), Ok(destination));
    let rewrite = ("x-llm-d-model-name-rewrite", "tuned");
    let observed = send_all(gateway, request(&[POST[0], POST[1], rewrite], BODY));
    assert!(matches!(observed[..], [Observed::Refused { status: 503, .. }, Observed::Close]), "{observed:?}");
    let observed = send_all(Gateway::with(config, Err(Refusal::NoEndpoint)), request(&POST, BODY));
    assert!(matches!(observed[0], Observed::Pick(_)));
}

#[test]
fn nothing_follows_a_refusal() {
    let mut gateway = Gateway::new();
    for message in request(&POST, "{") {
        gateway.send(message);
    }
    for message in [request_body(BODY, true), request_trailers(), response_headers("200", true)] {
        assert_eq!(gateway.send(message), []);
    }
    assert_eq!(gateway.step(Event::Picked(Err(Refusal::NoEndpoint))), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::Refused);
    assert!(matches!(gateway.conversation.refusal(), Some(Refusal::BadRequest(_))));
}

#[test]
fn unrequested_pick_is_ignored() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.step(Event::Picked(Err(Refusal::NoEndpoint))), []);
    assert_eq!(gateway.conversation.outcome(), Outcome::NotSent);
}

#[test]
fn dropped_requests_are_told_why_and_when_to_come_again() {
    for (reason, status, name) in [
        (DropReason::Saturated, 429, "rejected-saturated"),
        (DropReason::Expired, 429, "rejected-ttl-expired"),
        (DropReason::NoEndpoints, 503, "rejected-no-endpoints"),
        (DropReason::ShuttingDown, 503, "rejected-shutting-down"),
    ] {
        let refusal = Refusal::Dropped { reason, retry_after_s: 9 };
        let gateway = Gateway::with(Config::default(), Err(refusal));
        let observed = send_all(gateway, request(&POST, BODY));
        let [.., Observed::Refused { status: sent, reason: told, retry_after, .. }, Observed::Close] =
            &*observed
        else {
            panic!("{observed:?}")
        };
        assert_eq!((status, Some(name), Some("9")), (*sent, told.as_deref(), retry_after.as_deref()));
    }
    let observed = send_all(Gateway::with(Config::default(), Err(Refusal::Shed)), request(&POST, BODY));
    let [.., Observed::Refused { status, reason, .. }, Observed::Close] = &*observed else {
        panic!("{observed:?}")
    };
    assert_eq!((429, None), (*status, reason.as_deref()));
}

/// Returns what is observed if a request is revoked after these messages of its response, and its outcome then. The gateway
/// announces how it sends the response's body, if a mode is given.
fn revoked_after(
    mode: Option<BodySendMode>,
    response: Option<ProcessingRequest>,
) -> (Vec<Observed>, Outcome) {
    let mut gateway = Gateway::new();
    let [headers, body] = request(&POST, BODY);
    let headers = match mode {
        Some(mode) => with_body_modes(headers, BodySendMode::FullDuplexStreamed, mode),
        None => headers,
    };
    for message in [headers, body].into_iter().chain(response) {
        gateway.send(message);
    }
    let refusal = Refusal::Dropped { reason: DropReason::Revoked, retry_after_s: 9 };
    let observed = gateway.step(Event::Revoked(refusal));
    (observed, gateway.conversation.outcome())
}

#[test]
fn request_is_revoked_until_its_response_begins() {
    let modes = [BodySendMode::FullDuplexStreamed, BodySendMode::Streamed, BodySendMode::Buffered];
    for mode in modes {
        let (observed, outcome) = revoked_after(Some(mode), None);
        let [Observed::Refused { status, body, reason, retry_after, .. }, Observed::Close] = &*observed
        else {
            panic!("{observed:?}")
        };
        assert_eq!((429, Some("evicted"), Some("9")), (*status, reason.as_deref(), retry_after.as_deref()));
        assert!(body.contains("request evicted by flow control"), "{body}");
        assert_eq!(Outcome::Refused, outcome);
        for begun in [response_headers("200", false), response_body("data", false)] {
            assert_eq!((Vec::new(), Outcome::Aborted), revoked_after(Some(mode), Some(begun)));
        }
    }
}

/// Its response may have begun unseen.
#[test]
fn request_whose_response_may_be_hidden_is_not_revoked() {
    for mode in [Some(BodySendMode::None), None] {
        assert_eq!(Vec::<Observed>::new(), revoked_after(mode, None).0);
    }
    assert_eq!(Vec::<Observed>::new(), Gateway::new().step(Event::Revoked(Refusal::Shed)));
}
