//! Properties that hold for all bodies, however they are split into messages.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_intake::ParseOptions;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    BODY, Gateway, Observed, POST, Routed, empty_message, request_body, request_headers, request_trailers,
    response_body, response_headers, response_trailers, with_body_modes,
};

/// Returns a completion with a prompt of up to 200 KB, and the positions at which to split it.
fn split_body() -> impl Strategy<Value = (String, Vec<usize>)> {
    let prompt = prop_oneof![0usize..100, 0usize..200_000];
    (prompt, vec(any::<proptest::sample::Index>(), 0..12)).prop_map(|(len, splits)| {
        let body = format!(r#"{{"model":"m","prompt":"p{}"}}"#, "x".repeat(len));
        let mut splits: Vec<_> = splits.iter().map(|split| split.index(body.len() + 1)).collect();
        splits.sort_unstable();
        (body, splits)
    })
}

fn pieces<'a>(body: &'a str, splits: &[usize]) -> Vec<&'a str> {
    let starts = [0].into_iter().chain(splits.iter().copied());
    let ends = splits.iter().copied().chain([body.len()]);
    starts.zip(ends).map(|(start, end)| &body[start..end]).collect()
}

/// Joins the chunks. Asserts that none is too long, and that only the last one may end the stream.
fn joined(chunks: &[(&Bytes, bool)], ends: bool) -> Vec<u8> {
    let last = chunks.len() - 1;
    for (at, (bytes, end)) in chunks.iter().enumerate() {
        assert!(bytes.len() <= 62_000);
        assert_eq!(*end, ends && at == last);
    }
    chunks.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect()
}

fn message() -> impl Strategy<Value = ProcessingRequest> {
    let events = ["data: {\"text\":\"a\",\"choices\":[{\"text\":\"a\"}]}\n", "data: {\"error\":{}}\n"];
    let body = move || {
        let events = proptest::sample::select(events.to_vec()).prop_map(str::to_owned);
        prop_oneof![Just(BODY.to_owned()), Just(String::new()), "[a-z]{1,8}", events]
    };
    let any_message = prop_oneof![
        Just(empty_message()),
        any::<bool>().prop_map(|end| request_headers(&POST, end)),
        any::<bool>().prop_map(|end| request_headers(&[(":path", "/x"), ("content-length", "7")], end)),
        (body(), any::<bool>()).prop_map(|(body, end)| request_body(body, end)),
        Just(request_trailers()),
        any::<bool>().prop_map(|end| response_headers("200", end)),
        Just(response_headers("429", false)),
        (body(), any::<bool>()).prop_map(|(body, end)| response_body(body, end)),
        Just(response_trailers()),
    ];
    let mode = || (0i32..6).prop_map(|mode| BodySendMode::try_from(mode).unwrap());
    (any_message, proptest::option::of((mode(), mode()))).prop_map(|(message, modes)| match modes {
        Some((request, response)) => with_body_modes(message, request, response),
        None => message,
    })
}

proptest! {
    #[test]
    fn split_of_a_request_makes_no_difference((body, splits) in split_body(), trailers: bool, length: bool) {
        let mut gateway = Gateway::new();
        let content_length = body.len().to_string();
        let mut headers = POST.to_vec();
        if length {
            headers.push(("content-length", &content_length));
        }
        let mut observed = gateway.send(request_headers(&headers, false));
        let pieces = pieces(&body, &splits);
        for (at, piece) in pieces.iter().enumerate() {
            prop_assert!(observed.is_empty());
            observed = gateway.send(request_body(*piece, !trailers && at + 1 == pieces.len()));
        }
        if trailers {
            prop_assert!(observed.is_empty());
            observed = gateway.send(request_trailers());
            prop_assert_eq!(observed.pop(), Some(Observed::RequestTrailers));
        }
        let Observed::Pick(parsed) = &observed[0] else { panic!("{:?}", observed[0]) };
        let parsed_alone = signalbox_intake::parse(signalbox_intake::Api::Completions, body.as_bytes(), &ParseOptions::new(256));
        prop_assert_eq!(&**parsed, &parsed_alone.unwrap());
        let is_route = matches!(&observed[1], Observed::Routed(Routed { content_length: Some(n), .. }) if *n == content_length);
        prop_assert!(is_route);
        let chunks: Vec<_> = observed[2..].iter().map(|observed| match observed {
            Observed::RequestChunk(bytes, end) => (bytes, *end),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(joined(&chunks, !trailers), body.as_bytes());
    }

    #[test]
    fn split_response_passes_unchanged((body, splits) in split_body(), trailers: bool) {
        let mut gateway = Gateway::new();
        let mut observed = gateway.send(response_headers("200", false));
        let pieces = pieces(&body, &splits);
        for (at, piece) in pieces.iter().enumerate() {
            let before = observed.len();
            observed.extend(gateway.send(response_body(*piece, !trailers && at + 1 == pieces.len())));
            prop_assert!(observed.len() > before, "a chunk was held back");
        }
        if trailers {
            observed.extend(gateway.send(response_trailers()));
        }
        let count = |of: &Observed| observed.iter().filter(|observed| *observed == of).count();
        prop_assert_eq!(count(&Observed::ResponseEnded), 1);
        let chunks: Vec<_> = observed.iter().filter_map(|observed| match observed {
            Observed::ResponseChunk(bytes, end) => Some((bytes, *end)),
            _ => None,
        }).collect();
        prop_assert_eq!(joined(&chunks, !trailers), body.as_bytes());
    }

    #[test]
    fn any_order_of_messages_keeps_the_invariants(messages in vec(message(), 0..12)) {
        let mut gateway = Gateway::new();
        let mut observed = Vec::new();
        for message in messages {
            observed.extend(gateway.send(message));
            gateway.conversation.outcome();
        }
        let at = |wanted: fn(&Observed) -> bool| observed.iter().position(wanted);
        let count = |wanted: fn(&Observed) -> bool| observed.iter().filter(|observed| wanted(observed)).count();
        prop_assert!(count(|observed| matches!(observed, Observed::Pick(_))) <= 1);
        prop_assert!(count(|observed| matches!(observed, Observed::ResponseStarted(_))) <= 1);
        prop_assert!(count(|observed| matches!(observed, Observed::FirstOutput(_))) <= 1);
        prop_assert!(count(|observed| matches!(observed, Observed::ErrorReported(_))) <= 1);
        prop_assert!(count(|observed| matches!(observed, Observed::ResponseEnded)) <= 1);
        let refused = at(|observed| matches!(observed, Observed::Refused { .. }));
        prop_assert_eq!(refused, at(|observed| *observed == Observed::Close).map(|close| close - 1));
        prop_assert!(refused.is_none_or(|refused| refused + 2 == observed.len()), "messages follow a refusal");
        prop_assert_eq!(refused.is_some(), gateway.conversation.refusal().is_some());
    }
}
