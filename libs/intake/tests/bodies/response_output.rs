//! When responses have produced output, and the errors they report.

use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_intake::Api;
use signalbox_intake::response::{OutputForm, ResponseError, ResponseFormat, Usage};

use crate::protobuf_writer::{bytes, frame, number, packed};
use crate::response_usage::{pieces, read_response};

/// What a response shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) output: Option<OutputForm>,
    pub(crate) error: Option<ResponseError>,
    pub(crate) usage: Option<Usage>,
}

/// Returns what a response shows that arrives in pieces, at its end.
pub(crate) fn read_shown(api: Api, format: ResponseFormat, response: &[u8], splits: &[usize]) -> Shown {
    let Some(mut reader) = read_response(api, format, response, splits) else { return Shown::default() };
    let before_end = reader.usage();
    reader.end();
    assert_eq!(before_end, reader.usage(), "the end changes the usage");
    Shown { output: reader.output(), error: reader.error(), usage: reader.usage() }
}

/// Returns the length of the shortest beginning of a response that shows output.
fn first_output_at(api: Api, format: ResponseFormat, response: &[u8], piece_bytes: usize) -> Option<usize> {
    let mut reader = read_response(api, format, &[], &[]).unwrap();
    let mut read = 0;
    for piece in response.chunks(piece_bytes) {
        reader.push(piece);
        read += piece.len();
        if reader.output().is_some() {
            return Some(read);
        }
    }
    None
}

/// Streams, each as what comes before the first output, and what comes from then on.
const STREAMS: [(Api, &str, &str); 6] = [
    (
        Api::Chat,
        ": ping\n\nretry: 10\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n",
    ),
    (
        Api::Responses,
        concat!(
            "event: response.created\r\ndata: {\"type\":\"response.created\",\"response\":{\"output\":[]}}\r\n\r\n",
            "event: response.queued\r\ndata: {\"type\":\"response.queued\",\"response\":{\"output\":[]}}\r\n\r\n",
            "event: response.in_progress\r\ndata: {\"type\":\"response.in_progress\",\"response\":{}}\r\n\r\n",
            "data: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"message\",\"content\":[]}}\r\n\r\n",
        ),
        "data: {\"delta\":\"a\",\"type\":\"response.output_text.delta\"}\r\n\r\n",
    ),
    (
        Api::Messages,
        concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n",
        ),
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"a\"}}\n\n",
    ),
    (
        Api::Generate,
        "data: {\"text\":\"\",\"output_ids\":[],\"meta_info\":{\"prompt_tokens\":5}}\n\n",
        "data: {\"text\":\"a\",\"output_ids\":[1],\"meta_info\":{}}\n\n",
    ),
    (Api::Generate, "\n\n", "data: {\"token\":{\"id\":1,\"text\":\"a\"},\"generated_text\":null}\n\n"),
    (
        Api::VllmGenerate,
        "data: {\"choices\":[{\"index\":0,\"token_ids\":[]}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"token_ids\":[1]}]}\n\n",
    ),
];

#[test]
fn output_is_seen_at_its_first_event_and_not_before() {
    for (api, before, output) in STREAMS {
        let stream = [before, output].concat();
        let end_of_event = before.len() + output.find('\n').unwrap() + 1;
        for piece_bytes in 1..stream.len() {
            let seen = first_output_at(api, ResponseFormat::EventStream, stream.as_bytes(), piece_bytes);
            let expected = end_of_event.next_multiple_of(piece_bytes).min(stream.len());
            assert_eq!(seen, Some(expected), "{stream:?} in pieces of {piece_bytes}");
        }
        let alone = read_shown(api, ResponseFormat::EventStream, before.as_bytes(), &[]);
        assert_eq!((alone.output, alone.error), (None, None), "{before:?}");
    }
}

#[test]
fn error_before_output_is_no_output() {
    for (api, before, output) in STREAMS {
        let error = "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n";
        let stream = [before, error, output].concat();
        let shown = read_shown(api, ResponseFormat::EventStream, stream.as_bytes(), &[7; 40]);
        assert_eq!((shown.output, shown.error), (None, Some(ResponseError { status: Some(503) })));
        let stream = [before, output, error].concat();
        let shown = read_shown(api, ResponseFormat::EventStream, stream.as_bytes(), &[7; 40]);
        let both = (Some(OutputForm::Event), Some(ResponseError { status: Some(503) }));
        assert_eq!((shown.output, shown.error), both, "an error after output");
    }
}

#[test]
fn document_is_output_at_its_end_unless_it_is_an_error() {
    let error = |status| (None, Some(ResponseError { status }));
    for (document, expected) in [
        (r#"{"choices":[{"text":"a"}],"error":null}"#, (Some(OutputForm::Document), None)),
        (r#"[{"text":"a"}]"#, (Some(OutputForm::Document), None)),
        (r#"{"error":{"message":"m","code":404}}"#, error(Some(404))),
        (r#"{"type":"error","error":{"type":"overloaded_error"}}"#, error(Some(529))),
        (r#"{"object":"error","message":"m"}"#, error(None)),
        (r#"{"choices":[{"text":"a"}]"#, (None, None)),
        ("", (None, None)),
    ] {
        let mut reader =
            read_response(Api::Chat, ResponseFormat::Json, document.as_bytes(), &[5; 9]).unwrap();
        assert_eq!(reader.output(), None, "{document} before its end");
        reader.end();
        assert_eq!((reader.output(), reader.error()), expected, "{document}");
    }
}

#[test]
fn output_in_grpc_messages_is_seen() {
    let empty_chunk = frame(&bytes(1, &number(2, 11)));
    let chunk = frame(&bytes(1, &packed(1, &[1, 2])));
    let stream = [&empty_chunk[..], &chunk].concat();
    let seen = first_output_at(Api::VllmGrpcGenerate, ResponseFormat::Grpc, &stream, 1).unwrap();
    assert!(seen > empty_chunk.len() && seen <= stream.len());
    let carried = |text: &str| frame(&[bytes(1, b"text"), bytes(2, text.as_bytes())].concat());
    let before = carried(STREAMS[1].1);
    let stream = [before.clone(), carried(STREAMS[1].2)].concat();
    let seen = first_output_at(Api::VertexPredict, ResponseFormat::Grpc, &stream, 1).unwrap();
    assert!(seen > before.len());
    let document = carried(r#"{"choices":[{"message":{"content":"a"}}]}"#);
    let shown = read_shown(Api::VertexChat, ResponseFormat::Grpc, &document, &[3; 9]);
    assert_eq!(shown.output, Some(OutputForm::Document));
    let error = carried(r#"{"error":{"code":429}}"#);
    let shown = read_shown(Api::VertexChat, ResponseFormat::Grpc, &error, &[]);
    assert_eq!((shown.output, shown.error), (None, Some(ResponseError { status: Some(429) })));
}

proptest! {
    #[test]
    fn split_makes_no_difference_to_output_and_errors(response in pieces(), splits in vec(0_usize..20, 0..40)) {
        for (api, format) in [
            (Api::Chat, ResponseFormat::EventStream),
            (Api::Chat, ResponseFormat::Json),
            (Api::Generate, ResponseFormat::EventStream),
            (Api::VllmGrpcGenerate, ResponseFormat::Grpc),
            (Api::VllmGrpcEmbed, ResponseFormat::Grpc),
            (Api::VertexChat, ResponseFormat::Grpc),
        ] {
            prop_assert_eq!(read_shown(api, format, &response, &splits), read_shown(api, format, &response, &[]));
        }
    }
}
