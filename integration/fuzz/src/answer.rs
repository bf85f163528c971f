//! Answers of model servers.

use bytes::Bytes;
use signalbox_intake::Api;
use signalbox_intake::answer::{AnswerKind, Renamer, UsageReader};

const APIS: [&str; 6] = [
    "/v1/completions",
    "/v1/messages",
    "/v1/responses",
    "/generate",
    "/vllm.grpc.engine.VllmEngine/Generate",
    "/google.cloud.aiplatform.v1.PredictionService/StreamRawPredict",
];

/// Reads them as an answer to every API, whole and in pieces, which must come to the same.
pub(crate) fn run(data: &[u8]) {
    let (&[at], data) = data.split_at_checked(1).map_or((&[0][..], data), |(first, rest)| (first, rest))
    else {
        return;
    };
    let size = usize::from(at).max(1);
    for path in APIS {
        for kind in [AnswerKind::Events, AnswerKind::Whole, AnswerKind::Framed] {
            let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                let mut reader = UsageReader::new(Api::of_path(path), kind);
                pieces.for_each(|piece| reader.push(piece));
                reader.usage()
            };
            let (whole, pieces) = (read(&mut [data].into_iter()), read(&mut data.chunks(size)));
            assert_eq!(whole, pieces, "{path}, {kind:?}: what was used depends on how the answer is cut");
        }
    }
    for (api, kind) in [(Api::Chat, AnswerKind::Events), (Api::VertexChat, AnswerKind::Framed)] {
        let renamer = || Renamer::new(api, kind, "tuned", "asked for").expect("there are names in it");
        let (whole, pieces) = (renamed(renamer(), data, data.len().max(1)), renamed(renamer(), data, size));
        assert_eq!(whole, pieces, "{api:?}: names depend on how the answer is cut");
    }
}

fn renamed(mut renamer: Renamer, data: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(size) {
        renamer
            .push(Bytes::copy_from_slice(chunk), false)
            .iter()
            .for_each(|piece| out.extend_from_slice(piece));
    }
    renamer.push(Bytes::new(), true).iter().for_each(|piece| out.extend_from_slice(piece));
    out
}
