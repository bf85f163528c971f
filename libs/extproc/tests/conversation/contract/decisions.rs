//! Decisions, by the rows of the contract's section 9.

use super::*;

#[test]
fn contract_9_row_1_the_modes_that_the_gateway_tells_are_kept_to() {
    let first = |mode| {
        let headers = telling(request_headers(&POST, false), mode, BodySendMode::FullDuplexStreamed);
        unpicked(all(Gateway::new(), [headers, request_body(BODY, true)]))
    };
    let chunk = Seen::RequestChunk(Bytes::from_static(BODY.as_bytes()), true);
    let duplex = [Seen::Routed(routed(Some(BODY.len()))), chunk.clone()];
    assert_eq!(duplex[..], first(BodySendMode::FullDuplexStreamed));
    assert_eq!(
        [Seen::RequestHeaders, Seen::RoutedWithBody(routed(None), None)][..],
        first(BodySendMode::Buffered)
    );
    assert_eq!([Seen::Routed(routed(None)), Seen::RequestNod][..], first(BodySendMode::Streamed));
    assert_eq!([Seen::Routed(routed(None)), chunk][..], first(BodySendMode::None));
}

#[test]
fn contract_9_row_2_headers_are_answered_when_the_request_is_complete() {
    for end in [request_body("", true), request_trailers()] {
        let mut gateway = Gateway::new();
        assert_eq!(gateway.say(request_headers(&POST, false)), []);
        assert_eq!(gateway.say(request_body(BODY, false)), []);
        assert!(matches!(gateway.say(end)[1], Seen::Routed(_)));
    }
}

#[test]
fn contract_9_row_3_one_endpoint_or_those_that_are_named() {
    let list = ["10.0.0.1:8000", "10.0.0.2:8000"].map(|text| text.parse().unwrap());
    assert_eq!("10.0.0.1:8000", told(Destination::from(list[0])));
    assert_eq!("10.0.0.1:8000,10.0.0.2:8000", told(Destination::from(list[0]).or(&list[1..])));
}

#[test]
fn contract_9_row_4_ipv6_is_in_brackets() {
    let list = ["[fd00::1]:8000", "[fd00::2]:80"].map(|text| text.parse().unwrap());
    assert_eq!("[fd00::1]:8000", told(Destination::from(list[0])));
    assert_eq!("[fd00::1]:8000,[fd00::2]:80", told(Destination::from(list[0]).or(&list[1..])));
}

#[test]
fn contract_9_row_5_the_subset_counts_for_every_request_and_the_last_one_told() {
    let hint = |message, text: &str| {
        let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let list = Kind::ListValue(ListValue { values: vec![value] });
        hinted(message, "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset", list)
    };
    let subset = |seen: &[Seen]| match &seen[0] {
        Seen::Picking(intake) => intake.request.subset.clone(),
        other => panic!("{other:?}"),
    };
    let get = all(Gateway::new(), [hint(request_headers(&GET, true), "[fd00::1]:80")]);
    assert_eq!(Some(Subset::from_iter(["[fd00::1]:80"])), subset(&get));
    let [headers, body] = request(&POST, BODY);
    let post = all(Gateway::new(), [hint(headers.clone(), "10.0.0.1"), hint(body.clone(), "10.0.0.2")]);
    assert_eq!(Some(Subset::from_iter(["10.0.0.2"])), subset(&post));
    let post = all(Gateway::new(), [hint(headers, "10.0.0.1"), body]);
    assert_eq!(Some(Subset::from_iter(["10.0.0.1"])), subset(&post));
}

/// Every header of the contract's sections 2.1, 2.2 and 2.4 that a picker or a gateway sets, and of ours.
const STEERING: [&str; 23] = [
    "x-llm-d-inference-objective",
    "x-gateway-inference-objective",
    "x-llm-d-inference-fairness-id",
    "x-gateway-inference-fairness-id",
    "x-llm-d-model-name-rewrite",
    "x-gateway-model-name-rewrite",
    "x-llm-d-slo-ttft-ms",
    "x-slo-ttft-ms",
    "x-llm-d-slo-tpot-ms",
    "x-slo-tpot-ms",
    "x-llm-d-video-fps",
    "x-llm-d-video-duration-seconds",
    "x-llm-d-video-resolution",
    "x-gateway-destination-endpoint",
    "x-gateway-destination-endpoint-subset",
    "x-gateway-destination-endpoint-served",
    "x-llm-d-request-dropped-reason",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
    "x-data-parallel-rank",
    "x-signalbox-booking",
];

#[test]
fn contract_9_row_6_no_client_can_steer() {
    for mode in (0..6).map(|mode| BodySendMode::try_from(mode).unwrap()) {
        for method in [POST[0], GET[0]] {
            let headers = [method, POST[1]].into_iter().chain(STEERING.map(|name| (name, "1")));
            let headers = request_headers(&headers.collect::<Vec<_>>(), method == GET[0]);
            let told = telling(headers, mode, BodySendMode::FullDuplexStreamed);
            let messages = [told, request_body(BODY, true)];
            let count = if method == GET[0] { 1 } else { 2 };
            let mut removed = Vec::new();
            let mut destination = None;
            for seen in all(Gateway::new(), messages.into_iter().take(count)) {
                match seen {
                    Seen::RequestHeadersWithout(names) => removed.extend(names),
                    Seen::Routed(routed) | Seen::RoutedWithBody(routed, _) => {
                        removed.extend(routed.removed);
                        destination = Some(routed.destination);
                    }
                    _ => {}
                }
            }
            // What the picker sets takes the place of what came.
            removed.extend(destination.as_ref().map(|_| "x-gateway-destination-endpoint".to_owned()));
            removed.sort();
            removed.dedup();
            let mut steering = STEERING.to_vec();
            steering.sort_unstable();
            assert_eq!(
                (Some(ENDPOINT.to_owned()), steering),
                (destination, removed.iter().map(String::as_str).collect()),
                "{mode:?} {method:?}"
            );
        }
    }
}

#[test]
fn contract_9_row_7_only_what_changes_is_sent() {
    let headers = [POST[0], POST[1], ("x-request-id", "abc"), ("authorization", "secret"), ("x-other", "1")];
    let seen = all(Gateway::new(), request(&headers, BODY));
    assert_eq!(Seen::Routed(Routed { request_id: None, ..routed(Some(BODY.len())) }), seen[1]);
    let mut gateway = Gateway::new();
    let response = gateway.say(response_headers("200", false));
    assert_eq!([Seen::ResponseHeaders, Seen::Started(Some(200))][..], response);
}

#[test]
fn contract_9_row_8_trailers_end_a_body_and_are_answered() {
    let messages = [request_headers(&POST, false), request_body(BODY, false), request_trailers()];
    let chunk = Seen::RequestChunk(Bytes::from_static(BODY.as_bytes()), false);
    let expected = [Seen::Routed(routed(Some(BODY.len()))), chunk, Seen::RequestTrailers];
    assert_eq!(expected[..], unpicked(all(Gateway::new(), messages)));
}

#[test]
fn contract_9_row_9_the_status_is_read_under_both_names() {
    for name in [":status", "status"] {
        let seen = Gateway::new().say(response_headers_of(&[(name, "503")]));
        assert_eq!([Seen::ResponseHeaders, Seen::Started(Some(503))][..], seen);
    }
}

#[test]
fn contract_9_row_10_no_endpoint_for_a_get_is_503() {
    for method in ["GET", "HEAD", "DELETE"] {
        let gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
        let seen = all(gateway, [request_headers(&[(":method", method), GET[1]], true)]);
        assert_eq!(NO_ENDPOINT, refused(&seen));
    }
}

#[test]
fn contract_9_row_12_a_stream_is_never_closed_early() {
    // Those that nobody reads too, which the Go EPP lets go as soon as they are picked for.
    for path in ["/v1/completions", "/v1/messages/count_tokens", "/some.Service/Call", "/v1/models"] {
        let mut gateway = Gateway::new();
        let messages = request(&[POST[0], (":path", path)], BODY).into_iter().chain([
            response_headers("200", false),
            response_body("data: 1\n\n", false),
            response_body("", true),
        ]);
        let mut passed = 0;
        for message in messages {
            let seen = gateway.say(message);
            assert!(!seen.contains(&Seen::Close), "{path}: {seen:?}");
            passed += seen.iter().filter(|seen| matches!(seen, Seen::ResponseChunk(..))).count();
        }
        assert_eq!((2, Outcome::Complete), (passed, gateway.conversation.outcome()), "{path}");
    }
}

#[test]
fn contract_9_row_13_usage_is_read_over_chunk_borders() {
    let usage = "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    for cut in 0..usage.len() {
        let (head, tail) = usage.split_at(cut);
        let mut gateway = Gateway::new();
        request(&POST, BODY).into_iter().for_each(|message| drop(gateway.say(message)));
        gateway.say(response_headers("200", false));
        gateway.say(response_body(head, false));
        let seen = gateway.say(response_body(tail, true));
        let Some(Seen::Usage(usage)) = seen.iter().find(|seen| matches!(seen, Seen::Usage(_))) else {
            panic!("cut at {cut}: {seen:?}")
        };
        assert_eq!((Some(3), Some(4)), (usage.prompt_tokens, usage.completion_tokens));
    }
}

#[test]
fn contract_9_row_19_a_rewrite_changes_the_model_and_no_other_byte() {
    let body = r#"{ "seed": 9007199254740993, "model" : "a\u0062", "prompt":"x",  "z":1e400 }"#;
    let headers = [POST[0], POST[1], ("x-llm-d-model-name-rewrite", "say \"hi\"")];
    let seen = all(Gateway::new(), request(&headers, body));
    let expected = body.replace(r#""a\u0062""#, r#""say \"hi\"""#);
    assert_eq!(Seen::RequestChunk(Bytes::from(expected), true), seen[2]);
}

#[test]
fn contract_9_row_21_a_body_that_is_too_long() {
    let config = Config { body_limit_bytes: 10, ..Config::default() };
    for messages in [
        vec![request_headers(&[POST[0], POST[1], ("content-length", "11")], false)],
        vec![request_headers(&POST, false), request_body("123456", false), request_body("78901", false)],
    ] {
        let gateway = Gateway::with(config.clone(), Err(Refusal::NoEndpoint));
        let text = "inference error: PayloadTooLarge - request body is longer than 10 bytes";
        assert_eq!((413, text, None), refused(&all(gateway, messages)));
    }
}

#[test]
fn the_endpoint_that_serves_is_told_once() {
    let served = |message| {
        let address = Kind::StringValue("10.0.0.9:8000".to_owned());
        hinted(message, "envoy.lb", "x-gateway-destination-endpoint-served", address)
    };
    let mut gateway = Gateway::new();
    request(&POST, BODY).into_iter().for_each(|message| drop(gateway.say(message)));
    let seen = gateway.say(served(response_headers("200", false)));
    assert_eq!(Seen::Served(([10, 0, 0, 9], 8000).into()), seen[0]);
    let seen = gateway.say(served(response_body("x", false)));
    assert!(matches!(seen[..], [Seen::ResponseChunk(..), Seen::FirstChunk]), "{seen:?}");
}
