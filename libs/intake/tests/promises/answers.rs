//! Usage, read from answers.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use signalbox_intake::Api;
use signalbox_intake::answer::{AnswerKind, Usage, UsageReader};

use crate::proto::{bytes, frame, number, packed};

/// What is read of an answer that comes in pieces.
pub(crate) fn read(api: Api, kind: AnswerKind, mut answer: &[u8], cuts: &[usize]) -> Option<Usage> {
    let mut reader = UsageReader::new(api, kind);
    for cut in cuts {
        let (piece, rest) = answer.split_at((*cut).min(answer.len()));
        reader.push(piece);
        answer = rest;
    }
    reader.push(answer);
    reader.usage()
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
    "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":11,\"cache_read_input_tokens\":8,",
    "\"output_tokens\":1}}}\n\n",
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

fn grpc_answer() -> Vec<u8> {
    let counts = |first: u64, of: [u64; 3]| {
        [packed(1, &[1, 2]), number(first, of[0]), number(first + 1, of[1]), number(first + 2, of[2])]
            .concat()
    };
    let chunk = |completion| frame(&bytes(1, &counts(2, [11, completion, 8])));
    let complete = frame(&bytes(2, &[bytes(2, b"stop"), counts(3, [0, 5, 8])].concat()));
    [chunk(1), chunk(2), complete].concat()
}

/// Whole answers, each of which says 11, 5, and 8.
fn answers() -> Vec<(Api, AnswerKind, Vec<u8>)> {
    let whole = r#"{"id":"x","choices":[{"message":{"content":"\"usage\":{}"}}],"usage":{"prompt_tokens":11,
        "completion_tokens":"5","prompt_tokens_details":{"cached_tokens":8}},"x":1}"#;
    let message =
        r#"{"usage":{"input_tokens":11,"output_tokens":5,"cache_read_input_tokens":8},"content":[]}"#;
    let sglang = r#"{"text":"a","meta_info":{"id":"x","finish_reason":{"type":"length"},"prompt_tokens":11,
        "completion_tokens":5,"cached_tokens":8}}"#;
    vec![
        (Api::Chat, AnswerKind::Events, OPENAI_EVENTS.into()),
        (Api::VllmGenerate, AnswerKind::Events, OPENAI_EVENTS.into()),
        (Api::Messages, AnswerKind::Events, ANTHROPIC_EVENTS.into()),
        (Api::Responses, AnswerKind::Events, RESPONSES_EVENTS.into()),
        (Api::SglangGenerate, AnswerKind::Events, SGLANG_EVENTS.into()),
        (Api::Completions, AnswerKind::Whole, whole.into()),
        (Api::Messages, AnswerKind::Whole, message.into()),
        (Api::SglangGenerate, AnswerKind::Whole, sglang.into()),
        (Api::VllmGrpcGenerate, AnswerKind::Framed, grpc_answer()),
        (Api::VertexChat, AnswerKind::Framed, carried(&[whole])),
        (
            Api::VertexPredict,
            AnswerKind::Framed,
            carried(&[" \t", &RESPONSES_EVENTS[..100], &RESPONSES_EVENTS[100..]]),
        ),
    ]
}

/// An answer of Vertex AI with this in its messages.
fn carried(pieces: &[&str]) -> Vec<u8> {
    let message = |piece: &&str| frame(&[bytes(1, b"text"), bytes(2, piece.as_bytes())].concat());
    pieces.iter().map(message).collect::<Vec<_>>().concat()
}

#[test]
fn every_api_tells_its_usage() {
    for (api, kind, answer) in answers() {
        for piece_bytes in [1, 2, 3, 16, 1_000] {
            let cuts = vec![piece_bytes; answer.len() / piece_bytes];
            assert_eq!(read(api, kind, &answer, &cuts), usage(11, 5, Some(8)), "{api:?} {kind:?}");
        }
    }
    let embedding = frame(&[bytes(1, &[0; 64]), number(2, 11)].concat());
    let embedded = read(Api::VllmGrpcEmbed, AnswerKind::Framed, &embedding, &[3]);
    assert_eq!(embedded, Some(Usage { prompt_tokens: Some(11), ..Usage::default() }));
}

#[test]
fn what_is_before_a_carried_answer_counts_for_nothing_however_it_is_cut() {
    let answer = carried(&[" \tdata: {\"usage\":{\"prompt_tokens\":11}}\n"]);
    for piece_bytes in 1..answer.len() {
        let cuts = vec![piece_bytes; answer.len() / piece_bytes];
        let told = read(Api::VertexChat, AnswerKind::Framed, &answer, &cuts);
        assert_eq!(told.and_then(|usage| usage.prompt_tokens), Some(11), "{piece_bytes}");
    }
}

#[test]
fn what_is_not_to_be_read_says_nothing() {
    for (api, _, answer) in answers() {
        assert_eq!(read(api, AnswerKind::Unread, &answer, &[]), None);
        assert_eq!(read(Api::Opaque, AnswerKind::Whole, &answer, &[]), None);
    }
    assert_eq!(read(Api::VllmGrpcGenerate, AnswerKind::Events, OPENAI_EVENTS.as_bytes(), &[]), None);
    assert_eq!(read(Api::Chat, AnswerKind::Whole, br#"{"choices":[]}"#, &[]), None);
}

/// Things of which answers are made, and others.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
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
    fn how_an_answer_is_cut_makes_no_difference(answer in pieces(), cuts in vec(0_usize..20, 0..40)) {
        for (api, kind) in [
            (Api::Chat, AnswerKind::Events),
            (Api::Chat, AnswerKind::Whole),
            (Api::SglangGenerate, AnswerKind::Events),
            (Api::VllmGrpcGenerate, AnswerKind::Framed),
            (Api::VllmGrpcEmbed, AnswerKind::Framed),
            (Api::VertexChat, AnswerKind::Framed),
        ] {
            prop_assert_eq!(read(api, kind, &answer, &cuts), read(api, kind, &answer, &[]));
        }
    }
}
