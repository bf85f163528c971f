//! Usage in responses.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use signalbox_intake::Api;
use signalbox_intake::response::{ResponseFormat, ResponseReader, Usage};

use crate::protobuf_writer::{bytes, frame, number, packed};

/// Reads a response that arrives in pieces; `None` if it cannot be read.
pub(crate) fn read_response(
    api: Api,
    format: ResponseFormat,
    mut response: &[u8],
    splits: &[usize],
) -> Option<ResponseReader> {
    let mut reader = ResponseReader::new(api, format)?;
    for split in splits {
        let (piece, rest) = response.split_at((*split).min(response.len()));
        reader.push(piece);
        response = rest;
    }
    reader.push(response);
    Some(reader)
}

/// Returns the usage in a response that arrives in pieces.
pub(crate) fn read_usage(
    api: Api,
    format: ResponseFormat,
    response: &[u8],
    splits: &[usize],
) -> Option<Usage> {
    read_response(api, format, response, splits)?.usage()
}

fn usage(prompt: u64, completion: u64, cached: Option<u64>) -> Option<Usage> {
    Some(Usage { prompt_tokens: Some(prompt), completion_tokens: Some(completion), cached_tokens: cached })
}

const OPENAI_EVENTS: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"content\":\"the usage\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5,",
    "\"prompt_tokens_details\":{\"cached_tokens\":8}}}\r\n\r\n",
    "data: [DONE]\n\n",
);
const ANTHROPIC_EVENTS: &str = concat!(
    "event: message_start\n",
    "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":2,\"cache_read_input_tokens\":8,",
    "\"cache_creation_input_tokens\":1,\"output_tokens\":1}}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":5}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
const RESPONSES_EVENTS: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n",
    "event: response.completed\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"output\":[],\"usage\":{\"input_tokens\":11,",
    "\"input_tokens_details\":{\"cached_tokens\":8},\"output_tokens\":5}}}\n\n",
);
const SGLANG_EVENTS: &str = concat!(
    "data: {\"text\":\"a\",\"meta_info\":{\"finish_reason\":null,\"prompt_tokens\":11,\"completion_tokens\":1}}\n\n",
    "data: {\"text\":\"ab\",\"meta_info\":{\"finish_reason\":{\"type\":\"stop\"},\"prompt_tokens\":11,",
    "\"completion_tokens\":5,\"cached_tokens\":8}}\n\ndata: [DONE]\n\n",
);

fn grpc_response() -> Vec<u8> {
    let counts = |first: u32, of: [u64; 3]| {
        [packed(1, &[1, 2]), number(first, of[0]), number(first + 1, of[1]), number(first + 2, of[2])]
            .concat()
    };
    let chunk = |completion| frame(&bytes(1, &counts(2, [11, completion, 8])));
    let complete = frame(&bytes(2, &[bytes(2, b"stop"), counts(3, [0, 5, 8])].concat()));
    [chunk(1), chunk(2), complete].concat()
}

/// Returns complete responses, each with 11 prompt, 5 completion and 8 cached tokens.
fn responses() -> Vec<(Api, ResponseFormat, Vec<u8>)> {
    let whole = r#"{"id":"x","choices":[{"message":{"content":"\"usage\":{}"}}],"usage":{"prompt_tokens":11,
        "completion_tokens":"5","prompt_tokens_details":{"cached_tokens":8}},"x":1}"#;
    let message =
        r#"{"usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":8},"content":[]}"#;
    let sglang = r#"{"text":"a","meta_info":{"id":"x","finish_reason":{"type":"length"},"prompt_tokens":11,
        "completion_tokens":5,"cached_tokens":8}}"#;
    vec![
        (Api::Chat, ResponseFormat::EventStream, OPENAI_EVENTS.into()),
        (Api::VllmGenerate, ResponseFormat::EventStream, OPENAI_EVENTS.into()),
        (Api::Messages, ResponseFormat::EventStream, ANTHROPIC_EVENTS.into()),
        (Api::Responses, ResponseFormat::EventStream, RESPONSES_EVENTS.into()),
        (Api::Generate, ResponseFormat::EventStream, SGLANG_EVENTS.into()),
        (Api::Completions, ResponseFormat::Json, whole.into()),
        (Api::Messages, ResponseFormat::Json, message.into()),
        (Api::Generate, ResponseFormat::Json, sglang.into()),
        (Api::VllmGrpcGenerate, ResponseFormat::Grpc, grpc_response()),
        (Api::VertexChat, ResponseFormat::Grpc, in_http_bodies(&[whole])),
        (
            Api::VertexPredict,
            ResponseFormat::Grpc,
            in_http_bodies(&[" \t", &RESPONSES_EVENTS[..100], &RESPONSES_EVENTS[100..]]),
        ),
    ]
}

/// Returns a response of Vertex AI that carries these pieces.
fn in_http_bodies(pieces: &[&str]) -> Vec<u8> {
    let message = |piece: &&str| frame(&[bytes(1, b"text"), bytes(2, piece.as_bytes())].concat());
    pieces.iter().map(message).collect::<Vec<_>>().concat()
}

#[test]
fn usage_of_every_api_is_read() {
    for (api, format, response) in responses() {
        for piece_bytes in [1, 2, 3, 16, 1_000] {
            let splits = vec![piece_bytes; response.len() / piece_bytes];
            assert_eq!(
                read_usage(api, format, &response, &splits),
                usage(11, 5, Some(8)),
                "{api:?} {format:?}"
            );
        }
    }
    let embedding = frame(&[bytes(1, &[0; 64]), number(2, 11)].concat());
    let embedded = read_usage(Api::VllmGrpcEmbed, ResponseFormat::Grpc, &embedding, &[3]);
    assert_eq!(embedded, Some(Usage { prompt_tokens: Some(11), ..Usage::default() }));
}

#[test]
fn leading_whitespace_of_embedded_responses_is_ignored() {
    let response = in_http_bodies(&[" \tdata: {\"usage\":{\"prompt_tokens\":11}}\n"]);
    for piece_bytes in 1..response.len() {
        let splits = vec![piece_bytes; response.len() / piece_bytes];
        let usage_read = read_usage(Api::VertexChat, ResponseFormat::Grpc, &response, &splits);
        assert_eq!(usage_read.and_then(|usage| usage.prompt_tokens), Some(11), "{piece_bytes}");
    }
}

#[test]
fn unread_responses_report_no_usage() {
    for (api, _, response) in responses() {
        assert_eq!(read_usage(api, ResponseFormat::Unread, &response, &[]), None);
        assert_eq!(read_usage(Api::Opaque, ResponseFormat::Json, &response, &[]), None);
    }
    assert_eq!(
        read_usage(Api::VllmGrpcGenerate, ResponseFormat::EventStream, OPENAI_EVENTS.as_bytes(), &[]),
        None
    );
    assert_eq!(read_usage(Api::Chat, ResponseFormat::Json, br#"{"choices":[]}"#, &[]), None);
}

/// Returns fragments of responses, and random bytes.
pub(crate) fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"\"",
        b"\\",
        b":",
        b",",
        b"\n",
        b"\"usage\"",
        b"data: {\"usage\":{\"prompt_tokens\":3}}",
        b"\"usage\":{\"prompt_tokens\":4},",
        b"{\"usage\":{\"completion_tokens\":5}}\n",
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        b"data: {\"error\":{\"code\":500}}\n\n",
        b"event: error\n",
        b"data: {\"text\":\"a\"}\r\n",
        b"\0\0\0\0\x04\x0a\x02\x10\x05",
        b"\0\0\0\0\x03\x0a\x02\x10\x05",
        b"\x12\x02\x18\x07",
        b"\0\0\0\0\x1f\x12\x1d{\"usage\":{\"prompt_tokens\":3}}",
    ];
    let words = vec(select(words), 0..30).prop_map(|words| words.concat());
    prop_oneof![words, vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn split_makes_no_difference_to_usage(response in pieces(), splits in vec(0_usize..20, 0..40)) {
        for (api, format) in [
            (Api::Chat, ResponseFormat::EventStream),
            (Api::Chat, ResponseFormat::Json),
            (Api::Generate, ResponseFormat::EventStream),
            (Api::VllmGrpcGenerate, ResponseFormat::Grpc),
            (Api::VllmGrpcEmbed, ResponseFormat::Grpc),
            (Api::VertexChat, ResponseFormat::Grpc),
        ] {
            prop_assert_eq!(read_usage(api, format, &response, &splits), read_usage(api, format, &response, &[]));
        }
    }
}
