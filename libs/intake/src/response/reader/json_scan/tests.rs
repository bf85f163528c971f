//! Tests of [`JsonScan`] with splits at all positions that matter.

use super::members::MAX_VALUE_BYTES;
use super::*;

fn scan(document: &str, piece_bytes: usize) -> JsonScan {
    let mut scan = JsonScan::default();
    document.as_bytes().chunks(piece_bytes).for_each(|piece| scan.push(piece));
    scan
}

#[test]
fn only_the_top_level_key_counts() {
    let usage = r#"{"prompt_tokens":5}"#;
    for (document, tokens) in [
        (format!(r#"{{"usage":{usage}}}"#), Some(5)),
        (format!(r#" {{ "a" : [1,{{"usage":1}}] , "usage" : {usage} , "b" : "}}" }}"#), Some(5)),
        (format!(r#"{{"a":"\"usage\":{{}}","usage":{usage}}}"#), Some(5)),
        (format!(r#"{{"a":"usage","usage":{usage},"usages":{{"prompt_tokens":6}}}}"#), Some(5)),
        (r#"{"usage":{"prompt_tokens":5,"a":["\\\"}",{}]}}"#.to_owned(), Some(5)),
        (format!(r#"{{"response":{{"usage":{{"prompt_tokens":6}}}},"usage":{usage}}}"#), Some(5)),
        (format!(r#"{{"usage":null,"usag":{usage},"a":{{"usage":{usage}}}}}"#), None),
        (format!(r#"{{"a\"usage":{usage},"usage\\":{usage}}}"#), None),
        (format!(r#"[{{"usage":{usage}}}]"#), None),
        (format!(r#"{{"usage":{usage}"#), None),
    ] {
        for piece_bytes in [1, 2, 3, 7, usize::MAX] {
            let (usage, error) = scan(&document, piece_bytes).document();
            assert_eq!((usage.prompt_tokens, error), (tokens, None), "{document} {piece_bytes}");
        }
    }
}

#[test]
fn members_of_enclosed_responses_count_if_the_kind_says_so() {
    let usage = r#"{"prompt_tokens":5}"#;
    for (event, tokens) in [
        (
            format!(
                r#"{{"type":"response.completed","response":{{"output":[{{"usage":1}}],"usage":{usage}}}}}"#
            ),
            Some(5),
        ),
        (
            format!(r#"{{"response":{{"usage":{usage},"error":null}},"n":1,"type":"response.incomplete"}}"#),
            Some(5),
        ),
        (format!(r#"{{"type":"message_start","message":{{"usage":{usage}}}}}"#), Some(5)),
        (format!(r#"{{"type":"response.created","response":{{"usage":{usage}}}}}"#), None),
        (format!(r#"{{"type":"response.completed","response":[{{"usage":{usage}}}]}}"#), None),
        (format!(r#"{{"type":"response.completed","response":1,"a":{{"usage":{usage}}}}}"#), None),
        (format!(r#"{{"type":"response.completed","response":{{"a":{{"usage":{usage}}}}}}}"#), None),
    ] {
        for piece_bytes in [1, 3, usize::MAX] {
            let (usage, error) = scan(&event, piece_bytes).event();
            assert_eq!((usage.prompt_tokens, error), (tokens, None), "{event} {piece_bytes}");
        }
    }
}

#[test]
fn errors_of_documents_and_events_are_found() {
    let long = "x".repeat(2 * MAX_VALUE_BYTES);
    for (json, status) in [
        (r#"{"error":{"message":"m","code":503}}"#.to_owned(), Some(503)),
        (r#"{"error":"m","error_type":"overloaded"}"#.to_owned(), Some(429)),
        (r#"{"object":"error","message":"m","code":"400"}"#.to_owned(), Some(400)),
        (format!(r#"{{"error":{{"code":503,"message":"{long}"}}}}"#), None),
    ] {
        for piece_bytes in [1, 1_000, usize::MAX] {
            let scan = scan(&json, piece_bytes);
            let error = Some(ResponseError { status });
            assert_eq!((scan.document().1, scan.event().1), (error, error), "{json}");
        }
    }
    let failed = r#"{"response":{"error":{"code":"server_error"}},"type":"response.failed"}"#;
    assert_eq!(scan(failed, 1).event().1, Some(ResponseError { status: Some(500) }));
}

#[test]
fn too_long_value_is_ignored() {
    let document = |len: usize| {
        let head = r#"{"prompt_tokens":5,"a":""#;
        format!(r#"{{"usage":{head}{}"}},"b":1}}"#, "x".repeat(len - head.len() - 2))
    };
    for (len, tokens) in [(MAX_VALUE_BYTES, Some(5)), (MAX_VALUE_BYTES + 1, None)] {
        for piece_bytes in [1, 100, MAX_VALUE_BYTES, usize::MAX] {
            let (usage, _) = scan(&document(len), piece_bytes).document();
            assert_eq!(usage.prompt_tokens, tokens, "{len} {piece_bytes}");
        }
    }
}

#[test]
fn usage_is_read_among_arrays_of_any_length() {
    let logprobs = format!("[{}[-0.5,7,\"]}}\\\"\"]]", "[-0.25,11,\"a\"],".repeat(MAX_VALUE_BYTES));
    let meta = format!(
        r#"{{"finish_reason":{{"type":"stop"}},"prompt_tokens":5,"output_token_logprobs":{logprobs},"cached_tokens":3,"a":[]}}"#
    );
    for piece_bytes in [1, 1_000, usize::MAX] {
        let scan = scan(&format!(r#"{{"text":"a","meta_info":{meta},"b":[1]}}"#), piece_bytes);
        for usage in [scan.document().0, scan.event().0] {
            assert_eq!((usage.prompt_tokens, usage.cached_tokens), (Some(5), Some(3)), "{piece_bytes}");
        }
    }
}
