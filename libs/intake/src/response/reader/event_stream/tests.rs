//! Tests of [`EventStreamReader`] with splits at all positions that matter.

use super::*;

fn read(stream: &str, piece_bytes: usize) -> EventStreamReader {
    let mut events = EventStreamReader::new("usage");
    stream.as_bytes().chunks(piece_bytes).for_each(|piece| events.push(piece));
    events
}

fn prompt(tokens: u64) -> Usage {
    Usage { prompt_tokens: Some(tokens), ..Usage::default() }
}

#[test]
fn usage_of_a_long_event_is_read_however_it_is_split() {
    let line = |len: usize| {
        let head = r#"data: {"response":{"output":""#;
        let tail = r#"","usage":{"prompt_tokens":5}},"type":"response.completed"}"#;
        format!("{head}{}{tail}", "x".repeat(len - head.len() - tail.len()))
    };
    for len in [MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 4 * MAX_LINE_BYTES] {
        for stream in [line(len), format!("{}\r\n\n", line(len))] {
            for piece_bytes in [1, 1_000, MAX_LINE_BYTES, usize::MAX] {
                let mut events = read(&stream, piece_bytes);
                assert_eq!(events.usage(), prompt(5), "{len} {piece_bytes}");
                events.end();
                assert_eq!((events.usage(), events.output()), (prompt(5), None), "{len} {piece_bytes}");
            }
        }
    }
}

#[test]
fn long_line_does_not_affect_the_next_one() {
    let long = "x".repeat(3 * MAX_LINE_BYTES);
    for start in ["data: ", ": ", "data: {\"a\":\"", "data: {\"usage\":{\"prompt_tokens\":7},\"a\":\"\\"] {
        let stream =
            format!("{start}{long}\n\ndata:{{\"usage\":{{\"prompt_tokens\":6}}}}\r\n\r\ndata: [DONE]\n");
        for piece_bytes in [7, 10_000, usize::MAX] {
            assert_eq!(read(&stream, piece_bytes).usage(), prompt(6), "{start}");
        }
    }
}

#[test]
fn long_event_that_reports_an_error_is_an_error() {
    let long = "x".repeat(3 * MAX_LINE_BYTES);
    let stream = format!("data: {{\"error\":{{\"code\":500}},\"a\":\"{long}\"}}\n\n");
    for piece_bytes in [7, 10_000, usize::MAX] {
        assert_eq!(read(&stream, piece_bytes).error(), Some(ResponseError { status: Some(500) }));
    }
}

#[test]
fn event_name_makes_any_data_an_error() {
    let text = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
    for (stream, [output, error]) in [
        ("event: error\ndata: {\"message\":\"m\"}\n\n", [false, true]),
        ("event: error\n\n", [false, false]),
        ("event: message\n", [false, false]),
        ("event: error\r\ndata: {\"code\":500}\r\n\r\n", [false, true]),
    ] {
        for (stream, output) in [
            (stream.to_owned(), output),
            (format!("{text}{stream}"), true),
            (format!("{stream}{text}"), output || !error),
        ] {
            for piece_bytes in [1, 5, usize::MAX] {
                let events = read(&stream, piece_bytes);
                assert_eq!((events.outputs > 0, events.error.is_some()), (output, error), "{stream}");
            }
        }
    }
}

#[test]
fn events_after_the_first_output_are_parsed_only_for_usage_and_errors() {
    let mut events = read("data: {\"choices\":[{\"text\":\"a\"}]}\n\n", usize::MAX);
    assert!(!events.needs_parsing(br#"{"choices":[{"text":"error"}]}"#));
    assert!(events.needs_parsing(br#"{"choices":[],"usage":null}"#));
    assert!(events.needs_parsing(br#"{"error": {"code": 500}}"#));
    events.push(b"data: {\"error\": {\"code\": 500}}\n\n");
    assert_eq!(events.error(), Some(ResponseError { status: Some(500) }));
}

#[test]
fn outputs_are_counted_when_every_event_is_read() {
    let output = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let text = [role, output, role, output, output].concat();
    let mut events = EventStreamReader::new("usage");
    events.read_every_event();
    events.push(text.as_bytes());
    assert_eq!((3, false), (events.outputs(), events.is_done()));
    events.push(b"data: [DONE]\r\n\r\n");
    assert_eq!((3, true), (events.outputs(), events.is_done()));
}
