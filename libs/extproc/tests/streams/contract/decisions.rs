//! Decisions, by the rows of section 9.

use super::*;

#[test]
fn contract_9_row_1_announced_body_modes_are_followed() {
    let first = |mode| {
        let headers = with_body_modes(request_headers(&POST, false), mode, BodySendMode::FullDuplexStreamed);
        without_pick(send_all(Gateway::new(), [headers, request_body(BODY, true)]))
    };
    let chunk = Observed::RequestChunk(Bytes::from_static(BODY.as_bytes()), true);
    let duplex = [Observed::Routed(routed(Some(BODY.len()))), chunk.clone()];
    assert_eq!(duplex[..], first(BodySendMode::FullDuplexStreamed));
    assert_eq!(
        [Observed::RequestHeaders, Observed::RoutedWithBody(routed(None), None)][..],
        first(BodySendMode::Buffered)
    );
    assert_eq!([Observed::Routed(routed(None)), Observed::RequestPassed][..], first(BodySendMode::Streamed));
    assert_eq!([Observed::Routed(routed(None)), chunk][..], first(BodySendMode::None));
}

#[test]
fn contract_9_row_2_headers_are_replied_to_when_the_request_is_complete() {
    for end in [request_body("", true), request_trailers()] {
        let mut gateway = Gateway::new();
        assert_eq!(gateway.send(request_headers(&POST, false)), []);
        assert_eq!(gateway.send(request_body(BODY, false)), []);
        assert!(matches!(gateway.send(end)[1], Observed::Routed(_)));
    }
}

#[test]
fn contract_9_row_3_destination_lists_one_endpoint_and_its_fallbacks() {
    let list = ["10.0.0.1:8000", "10.0.0.2:8000"].map(|text| text.parse().unwrap());
    assert_eq!("10.0.0.1:8000", destination_header(Destination::from(list[0])));
    assert_eq!(
        "10.0.0.1:8000,10.0.0.2:8000",
        destination_header(Destination::from(list[0]).with_fallbacks(&list[1..]))
    );
}

#[test]
fn contract_9_row_4_ipv6_destinations_are_in_brackets() {
    let list = ["[fd00::1]:8000", "[fd00::2]:80"].map(|text| text.parse().unwrap());
    assert_eq!("[fd00::1]:8000", destination_header(Destination::from(list[0])));
    assert_eq!(
        "[fd00::1]:8000,[fd00::2]:80",
        destination_header(Destination::from(list[0]).with_fallbacks(&list[1..]))
    );
}

#[test]
fn contract_9_row_5_subset_applies_to_every_request_and_the_last_one_counts() {
    let hint = |message, text: &str| {
        let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let list = Kind::ListValue(ListValue { values: vec![value] });
        with_metadata(message, "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset", list)
    };
    let subset = |observed: &[Observed]| match &observed[0] {
        Observed::Pick(parsed) => parsed.request.subset.clone(),
        other => panic!("{other:?}"),
    };
    let get = send_all(Gateway::new(), [hint(request_headers(&GET, true), "[fd00::1]:80")]);
    assert_eq!(Some(Subset::from_iter(["[fd00::1]:80"])), subset(&get));
    let [headers, body] = request(&POST, BODY);
    let post = send_all(Gateway::new(), [hint(headers.clone(), "10.0.0.1"), hint(body.clone(), "10.0.0.2")]);
    assert_eq!(Some(Subset::from_iter(["10.0.0.2"])), subset(&post));
    let post = send_all(Gateway::new(), [hint(headers, "10.0.0.1"), body]);
    assert_eq!(Some(Subset::from_iter(["10.0.0.1"])), subset(&post));
}

/// All headers of sections 2.1, 2.2 and 2.4 that a picker or a gateway sets, and Signalbox's own.
const CONTROL_HEADERS: [&str; 23] = [
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
fn contract_9_row_6_clients_cannot_set_control_headers() {
    for mode in (0..6).map(|mode| BodySendMode::try_from(mode).unwrap()) {
        for method in [POST[0], GET[0]] {
            let headers = [method, POST[1]].into_iter().chain(CONTROL_HEADERS.map(|name| (name, "1")));
            let headers = request_headers(&headers.collect::<Vec<_>>(), method == GET[0]);
            let headers = with_body_modes(headers, mode, BodySendMode::FullDuplexStreamed);
            let messages = [headers, request_body(BODY, true)];
            let count = if method == GET[0] { 1 } else { 2 };
            let mut removed = Vec::new();
            let mut destination = None;
            for observed in send_all(Gateway::new(), messages.into_iter().take(count)) {
                match observed {
                    Observed::RequestHeadersWithout(names) => removed.extend(names),
                    Observed::Routed(routed) | Observed::RoutedWithBody(routed, _) => {
                        removed.extend(routed.removed);
                        destination = Some(routed.destination);
                    }
                    _ => {}
                }
            }
            // A header that the picker sets is replaced instead of removed.
            removed.extend(destination.as_ref().map(|_| "x-gateway-destination-endpoint".to_owned()));
            removed.sort();
            removed.dedup();
            let mut expected_headers = CONTROL_HEADERS.to_vec();
            expected_headers.sort_unstable();
            assert_eq!(
                (Some(ENDPOINT.to_owned()), expected_headers),
                (destination, removed.iter().map(String::as_str).collect()),
                "{mode:?} {method:?}"
            );
        }
    }
}

#[test]
fn contract_9_row_7_only_changed_headers_are_sent() {
    let headers = [POST[0], POST[1], ("x-request-id", "abc"), ("authorization", "secret"), ("x-other", "1")];
    let observed = send_all(Gateway::new(), request(&headers, BODY));
    assert_eq!(Observed::Routed(Routed { request_id: None, ..routed(Some(BODY.len())) }), observed[1]);
    let mut gateway = Gateway::new();
    let response = gateway.send(response_headers("200", false));
    assert_eq!([Observed::ResponseHeaders, Observed::ResponseStarted(Some(200))][..], response);
}

#[test]
fn contract_9_row_8_trailers_end_a_body_and_get_a_reply() {
    let messages = [request_headers(&POST, false), request_body(BODY, false), request_trailers()];
    let chunk = Observed::RequestChunk(Bytes::from_static(BODY.as_bytes()), false);
    let expected = [Observed::Routed(routed(Some(BODY.len()))), chunk, Observed::RequestTrailers];
    assert_eq!(expected[..], without_pick(send_all(Gateway::new(), messages)));
}

#[test]
fn contract_9_row_9_status_is_read_under_both_names() {
    for name in [":status", "status"] {
        let observed = Gateway::new().send(response_headers_of(&[(name, "503")]));
        assert_eq!([Observed::ResponseHeaders, Observed::ResponseStarted(Some(503))][..], observed);
    }
}

#[test]
fn contract_9_row_10_no_endpoint_for_a_get_is_503() {
    for method in ["GET", "HEAD", "DELETE"] {
        let gateway = Gateway::with(Config::default(), Err(Refusal::NoEndpoint));
        let observed = send_all(gateway, [request_headers(&[(":method", method), GET[1]], true)]);
        assert_eq!(NO_ENDPOINT, refusal(&observed));
    }
}

#[test]
fn contract_9_row_12_stream_is_never_closed_early() {
    // Includes opaque requests, whose streams the Go EPP closes right after the pick.
    for path in ["/v1/completions", "/v1/messages/count_tokens", "/some.Service/Call", "/v1/models"] {
        let mut gateway = Gateway::new();
        let messages = request(&[POST[0], (":path", path)], BODY).into_iter().chain([
            response_headers("200", false),
            response_body("data: 1\n\n", false),
            response_body("", true),
        ]);
        let mut passed = 0;
        for message in messages {
            let observed = gateway.send(message);
            assert!(!observed.contains(&Observed::Close), "{path}: {observed:?}");
            passed +=
                observed.iter().filter(|observed| matches!(observed, Observed::ResponseChunk(..))).count();
        }
        assert_eq!((2, Outcome::Complete), (passed, gateway.conversation.outcome()), "{path}");
    }
}

#[test]
fn contract_9_row_13_usage_is_read_across_chunk_boundaries() {
    let usage = "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    for split in 0..usage.len() {
        let (head, tail) = usage.split_at(split);
        let mut gateway = Gateway::new();
        request(&POST, BODY).into_iter().for_each(|message| drop(gateway.send(message)));
        gateway.send(response_headers("200", false));
        gateway.send(response_body(head, false));
        let observed = gateway.send(response_body(tail, true));
        let Some(Observed::Usage(usage)) =
            observed.iter().find(|observed| matches!(observed, Observed::Usage(_)))
        else {
            panic!("split at {split}: {observed:?}")
        };
        assert_eq!((Some(3), Some(4)), (usage.prompt_tokens, usage.completion_tokens));
    }
}

#[test]
fn contract_9_row_19_rewrite_changes_only_the_model() {
    let body = r#"{ "seed": 9007199254740993, "model" : "a\u0062", "prompt":"x",  "z":1e400 }"#;
    let headers = [POST[0], POST[1], ("x-llm-d-model-name-rewrite", "say \"hi\"")];
    let observed = send_all(Gateway::new(), request(&headers, body));
    let expected = body.replace(r#""a\u0062""#, r#""say \"hi\"""#);
    assert_eq!(Observed::RequestChunk(Bytes::from(expected), true), observed[2]);
}

#[test]
fn contract_9_row_21_too_long_body_is_refused_with_413() {
    let config = Config { body_limit_bytes: 10, ..Config::default() };
    for messages in [
        vec![request_headers(&[POST[0], POST[1], ("content-length", "11")], false)],
        vec![request_headers(&POST, false), request_body("123456", false), request_body("78901", false)],
    ] {
        let gateway = Gateway::with(config.clone(), Err(Refusal::NoEndpoint));
        let text = "PayloadTooLarge - request body is longer than 10 bytes";
        assert_eq!((413, text, None), refusal(&send_all(gateway, messages)));
    }
}

#[test]
fn serving_endpoint_is_reported_once() {
    let served = |message| {
        let address = Kind::StringValue("10.0.0.9:8000".to_owned());
        with_metadata(message, "envoy.lb", "x-gateway-destination-endpoint-served", address)
    };
    let mut gateway = Gateway::new();
    request(&POST, BODY).into_iter().for_each(|message| drop(gateway.send(message)));
    let observed = gateway.send(served(response_headers("200", false)));
    assert_eq!(Observed::ServedBy(([10, 0, 0, 9], 8000).into()), observed[0]);
    let observed = gateway.send(served(response_body("x", false)));
    assert!(matches!(observed[..], [Observed::ResponseChunk(..)]), "{observed:?}");
}
