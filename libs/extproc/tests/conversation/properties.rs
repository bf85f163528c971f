//! What holds for every body, however it is cut into messages.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_intake::Reading;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};

use crate::gateway::{
    BODY, Gateway, POST, Routed, Seen, nothing, request_body, request_headers, request_trailers,
    response_body, response_headers, response_trailers, telling,
};

/// A completion with a prompt of up to 200 KB, and where it is cut.
fn cut_body() -> impl Strategy<Value = (String, Vec<usize>)> {
    let prompt = prop_oneof![0usize..100, 0usize..200_000];
    (prompt, vec(any::<proptest::sample::Index>(), 0..12)).prop_map(|(len, cuts)| {
        let body = format!(r#"{{"model":"m","prompt":"p{}"}}"#, "x".repeat(len));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        (body, cuts)
    })
}

fn pieces<'a>(body: &'a str, cuts: &[usize]) -> Vec<&'a str> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([body.len()]);
    starts.zip(ends).map(|(start, end)| &body[start..end]).collect()
}

/// The bytes of all chunks, if each is short enough and the last, and only the last, is the end if there is to be one.
fn joined(chunks: &[(&Bytes, bool)], ends: bool) -> Vec<u8> {
    let last = chunks.len() - 1;
    for (at, (bytes, end)) in chunks.iter().enumerate() {
        assert!(bytes.len() <= 62_000);
        assert_eq!(*end, ends && at == last);
    }
    chunks.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect()
}

fn message() -> impl Strategy<Value = ProcessingRequest> {
    let body = || prop_oneof![Just(BODY.to_owned()), Just(String::new()), "[a-z]{1,8}"];
    let any_message = prop_oneof![
        Just(nothing()),
        any::<bool>().prop_map(|end| request_headers(&POST, end)),
        any::<bool>().prop_map(|end| request_headers(&[(":path", "/x"), ("content-length", "7")], end)),
        (body(), any::<bool>()).prop_map(|(body, end)| request_body(body, end)),
        Just(request_trailers()),
        any::<bool>().prop_map(|end| response_headers("200", end)),
        (body(), any::<bool>()).prop_map(|(body, end)| response_body(body, end)),
        Just(response_trailers()),
    ];
    let mode = || (0i32..6).prop_map(|mode| BodySendMode::try_from(mode).unwrap());
    (any_message, proptest::option::of((mode(), mode()))).prop_map(|(message, told)| match told {
        Some((request, response)) => telling(message, request, response),
        None => message,
    })
}

proptest! {
    #[test]
    fn any_cut_of_a_request_gives_the_same_answer((body, cuts) in cut_body(), trailers: bool, length: bool) {
        let mut gateway = Gateway::new();
        let content_length = body.len().to_string();
        let mut headers = POST.to_vec();
        if length {
            headers.push(("content-length", &content_length));
        }
        let mut seen = gateway.say(request_headers(&headers, false));
        let pieces = pieces(&body, &cuts);
        for (at, piece) in pieces.iter().enumerate() {
            prop_assert!(seen.is_empty());
            seen = gateway.say(request_body(*piece, !trailers && at + 1 == pieces.len()));
        }
        if trailers {
            prop_assert!(seen.is_empty());
            seen = gateway.say(request_trailers());
            prop_assert_eq!(seen.pop(), Some(Seen::RequestTrailers));
        }
        let Seen::Picking(intake) = &seen[0] else { panic!("{:?}", seen[0]) };
        let read = signalbox_intake::parse(signalbox_intake::Api::Completions, body.as_bytes(), &Reading::plain(256));
        prop_assert_eq!(&**intake, &read.unwrap());
        let is_route = matches!(&seen[1], Seen::Routed(Routed { content_length: Some(n), .. }) if *n == content_length);
        prop_assert!(is_route);
        let chunks: Vec<_> = seen[2..].iter().map(|seen| match seen {
            Seen::RequestChunk(bytes, end) => (bytes, *end),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(joined(&chunks, !trailers), body.as_bytes());
    }

    #[test]
    fn any_cut_of_a_response_passes_unchanged((body, cuts) in cut_body(), trailers: bool) {
        let mut gateway = Gateway::new();
        let mut seen = gateway.say(response_headers("200", false));
        let pieces = pieces(&body, &cuts);
        for (at, piece) in pieces.iter().enumerate() {
            let before = seen.len();
            seen.extend(gateway.say(response_body(*piece, !trailers && at + 1 == pieces.len())));
            prop_assert!(seen.len() > before, "every chunk passes at once");
        }
        if trailers {
            seen.extend(gateway.say(response_trailers()));
        }
        let count = |of: &Seen| seen.iter().filter(|seen| *seen == of).count();
        prop_assert_eq!((count(&Seen::FirstChunk), count(&Seen::Ended)), (1, 1));
        let chunks: Vec<_> = seen.iter().filter_map(|seen| match seen {
            Seen::ResponseChunk(bytes, end) => Some((bytes, *end)),
            _ => None,
        }).collect();
        prop_assert_eq!(joined(&chunks, !trailers), body.as_bytes());
    }

    #[test]
    fn no_order_of_messages_breaks_it(messages in vec(message(), 0..12)) {
        let mut gateway = Gateway::new();
        let mut seen = Vec::new();
        for message in messages {
            seen.extend(gateway.say(message));
            gateway.conversation.outcome();
        }
        let at = |wanted: fn(&Seen) -> bool| seen.iter().position(wanted);
        let count = |wanted: fn(&Seen) -> bool| seen.iter().filter(|seen| wanted(seen)).count();
        prop_assert!(count(|seen| matches!(seen, Seen::Picking(_))) <= 1);
        prop_assert!(count(|seen| matches!(seen, Seen::Started(_))) <= 1);
        prop_assert!(count(|seen| matches!(seen, Seen::FirstChunk)) <= 1);
        prop_assert!(count(|seen| matches!(seen, Seen::Ended)) <= 1);
        let refused = at(|seen| matches!(seen, Seen::Immediate { .. }));
        prop_assert_eq!(refused, at(|seen| *seen == Seen::Close).map(|close| close - 1));
        prop_assert!(refused.is_none_or(|refused| refused + 2 == seen.len()), "nothing comes after a refusal");
        prop_assert_eq!(refused.is_some(), gateway.conversation.refusal().is_some());
    }
}
