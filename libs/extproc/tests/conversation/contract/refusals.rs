//! Refusals, by the rows of the contract's table 3.3.

use super::*;

#[test]
fn contract_3_3_row_1_no_parser_is_for_the_path() {
    let parsers = std::sync::Arc::new(Parsers::of(["openai-parser".to_owned()]));
    let gateway =
        || Gateway::with(Config { parsers: parsers.clone(), ..Config::default() }, Err(Refusal::NoEndpoint));
    let path = |path| [(":method", "POST"), (":path", path)];
    let seen = all(gateway(), request(&path("/v1/messages"), BODY));
    let text = "inference error: BadRequest - no parser registered matching path suffix for: /v1/messages";
    assert_eq!((400, text, None), refused(&seen));
    assert!(matches!(all(gateway(), request(&path("/v1/completions"), BODY))[0], Seen::Picking(_)));
    assert!(matches!(all(gateway(), [request_headers(&GET, true)])[0], Seen::Picking(_)));
}

#[test]
fn contract_3_3_row_2_a_body_that_cannot_be_read() {
    for (body, message) in [
        ("{", "error unmarshaling request bodyMap: EOF while parsing an object at line 1 column 1"),
        (r#"{"model":"m"}"#, "invalid completions request: must have prompt field"),
    ] {
        let seen = all(Gateway::new(), request(&POST, body));
        assert_eq!((400, format!("inference error: BadRequest - {message}").as_str(), None), refused(&seen));
    }
}

#[test]
fn contract_3_3_row_3_no_model() {
    let seen = all(Gateway::new(), request(&POST, r#"{"prompt":"p"}"#));
    assert_eq!((400, "inference error: BadRequest - model not found in request body", None), refused(&seen));
}

#[test]
fn contract_3_3_row_3_no_model_but_one_for_every_request() {
    let headers = [POST[0], POST[1], ("x-llm-d-model-name-rewrite", "tuned")];
    for (body, expected) in [
        (r#" {"prompt":"p"}"#, r#" {"model":"tuned","prompt":"p"}"#),
        (r#"{"model":"","prompt":"p"}"#, r#"{"model":"tuned","prompt":"p"}"#),
    ] {
        let seen = all(Gateway::new(), request(&headers, body));
        assert_eq!(Seen::RequestChunk(Bytes::from_static(expected.as_bytes()), true), seen[2]);
        let Seen::Picking(intake) = &seen[0] else { panic!("{seen:?}") };
        assert_eq!("tuned", intake.request.model);
    }
}

#[test]
fn contract_3_3_row_4_no_endpoint_for_a_request_without_a_body() {
    let gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
    let seen = all(gateway, [request_headers(&[POST[0], GET[1]], true)]);
    assert_eq!(NO_ENDPOINT, refused(&seen));
}

#[test]
fn contract_3_3_row_14_no_candidate() {
    let gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
    let seen = all(gateway, request(&POST, BODY));
    assert_eq!(NO_ENDPOINT, refused(&seen));
}

#[test]
fn contract_3_3_row_16_the_filters_leave_none() {
    let gateway = Gateway::with(Config::default(), Err(Refusal::Saturated));
    let seen = all(gateway, request(&POST, BODY));
    let text = "inference error: ResourceExhausted - no endpoints available for the given request";
    assert_eq!((429, text, Some("rejected-saturated")), refused(&seen));
}

#[test]
fn contract_3_3_row_25_a_message_that_is_too_long_to_be_taken() {
    let mut gateway = Gateway::new();
    gateway.say(request_headers(&POST, false));
    let seen = gateway.step(Event::Overlong);
    let text = "inference error: PayloadTooLarge - request body is longer than 67108864 bytes";
    assert_eq!((413, text, None), refused(&seen));
    let mut gateway = Gateway::new();
    request(&POST, BODY).into_iter().for_each(|message| drop(gateway.say(message)));
    assert_eq!(gateway.step(Event::Overlong), [], "it is sent already");
}
