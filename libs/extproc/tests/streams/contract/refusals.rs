//! Refusals, by the rows of table 3.3.

use super::*;

#[test]
fn contract_3_3_row_1_path_without_a_parser_is_refused() {
    let parsers = std::sync::Arc::new(Parsers::new(["openai-parser".to_owned()]));
    let gateway =
        || Gateway::with(Config { parsers: parsers.clone(), ..Config::default() }, Err(Refusal::NoEndpoint));
    let path = |path| [(":method", "POST"), (":path", path)];
    let observed = send_all(gateway(), request(&path("/v1/messages"), BODY));
    let text = "invalid_request_error - no parser registered matching path suffix for: /v1/messages";
    assert_eq!((400, text, None), refusal(&observed));
    assert!(matches!(send_all(gateway(), request(&path("/v1/completions"), BODY))[0], Observed::Pick(_)));
    assert!(matches!(send_all(gateway(), [request_headers(&GET, true)])[0], Observed::Pick(_)));
}

#[test]
fn contract_3_3_row_2_invalid_body_is_refused() {
    for (body, message) in [
        (
            "{",
            "error unmarshaling request bodyMap: the body is truncated: EOF while parsing an object at line 1 column 1",
        ),
        (r#"{"model":"m"}"#, "invalid completions request: must have prompt field"),
    ] {
        let observed = send_all(Gateway::new(), request(&POST, body));
        assert_eq!((400, format!("BadRequest - {message}").as_str(), None), refusal(&observed));
    }
}

#[test]
fn contract_3_3_row_3_missing_model_is_refused_where_no_engine_takes_it() {
    let messages = [(":method", "POST"), (":path", "/v1/messages")];
    let body = r#"{"messages":[{"role":"user","content":"a"}]}"#;
    let observed = send_all(Gateway::new(), request(&messages, body));
    let text = "invalid_request_error - model not found in request body";
    assert_eq!((400, text, None), refusal(&observed));
    // Unlike the Go EPP: engines serve a request of OpenAI's APIs with the model that they have.
    let observed = send_all(Gateway::new(), request(&POST, r#"{"prompt":"p"}"#));
    let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
    assert_eq!(("", Some(Unread::Model)), (parsed.request.model.as_str(), parsed.unread));
}

#[test]
fn contract_3_3_row_3_missing_model_is_replaced_by_the_rewrite_header() {
    let headers = [POST[0], POST[1], ("x-llm-d-model-name-rewrite", "tuned")];
    for (body, expected) in [
        (r#" {"prompt":"p"}"#, r#" {"model":"tuned","prompt":"p"}"#),
        (r#"{"model":"","prompt":"p"}"#, r#"{"model":"tuned","prompt":"p"}"#),
    ] {
        let observed = send_all(Gateway::new(), request(&headers, body));
        assert_eq!(Observed::RequestChunk(Bytes::from_static(expected.as_bytes()), true), observed[2]);
        let Observed::Pick(parsed) = &observed[0] else { panic!("{observed:?}") };
        assert_eq!("tuned", parsed.request.model);
    }
}

#[test]
fn contract_3_3_row_4_no_endpoint_for_a_request_without_a_body_is_refused() {
    let gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
    let observed = send_all(gateway, [request_headers(&[POST[0], GET[1]], true)]);
    assert_eq!(NO_ENDPOINT, refusal(&observed));
}

#[test]
fn contract_3_3_row_14_no_candidate_is_refused() {
    let gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
    let observed = send_all(gateway, request(&POST, BODY));
    assert_eq!(NO_ENDPOINT, refusal(&observed));
}

#[test]
fn contract_3_3_row_16_filters_without_a_result_are_refused() {
    let gateway = Gateway::with(Config::default(), Err(Refusal::Saturated));
    let observed = send_all(gateway, request(&POST, BODY));
    let text = "ResourceExhausted - no endpoints available for the given request";
    assert_eq!((429, text, Some("rejected-saturated")), refusal(&observed));
}

#[test]
fn contract_3_3_row_25_too_long_message_is_refused() {
    let mut gateway = Gateway::new();
    gateway.send(request_headers(&POST, false));
    let observed = gateway.step(Event::MessageTooLong);
    let text = "PayloadTooLarge - request body is longer than 67108864 bytes";
    assert_eq!((413, text, None), refusal(&observed));
    let mut gateway = Gateway::new();
    request(&POST, BODY).into_iter().for_each(|message| drop(gateway.send(message)));
    assert_eq!(gateway.step(Event::MessageTooLong), [], "the request was already sent");
}
