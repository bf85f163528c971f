//! Fuzzes the readers of model server responses.

use bytes::Bytes;
use signalbox_intake::Api;
use signalbox_intake::response::{ModelRenamer, ResponseFormat, ResponseReader};

const APIS: [&str; 6] = [
    "/v1/completions",
    "/v1/messages",
    "/v1/responses",
    "/generate",
    "/vllm.grpc.engine.VllmEngine/Generate",
    "/google.cloud.aiplatform.v1.PredictionService/StreamRawPredict",
];

/// Reads the data as a response of every API, once whole and once in pieces. Both must have the same result.
pub(crate) fn run(data: &[u8]) {
    let (&[at], data) = data.split_at_checked(1).map_or((&[0][..], data), |(first, rest)| (first, rest))
    else {
        return;
    };
    let size = usize::from(at).max(1);
    for path in APIS {
        for kind in [ResponseFormat::EventStream, ResponseFormat::Json, ResponseFormat::Grpc] {
            let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                let mut reader = ResponseReader::new(Api::for_path(path), kind)?;
                pieces.for_each(|piece| reader.push(piece));
                reader.end();
                Some((reader.output(), reader.error(), reader.usage()))
            };
            let (whole, pieces) = (read(&mut [data].into_iter()), read(&mut data.chunks(size)));
            assert_eq!(whole, pieces, "{path}, {kind:?}: what it shows depends on how the response is split");
        }
    }
    for (api, kind) in [(Api::Chat, ResponseFormat::EventStream), (Api::VertexChat, ResponseFormat::Grpc)] {
        let renamer = || {
            ModelRenamer::new(api, kind, "tuned", "requested")
                .expect("this API's responses contain model names")
        };
        let (whole, pieces) = (renamed(renamer(), data, data.len().max(1)), renamed(renamer(), data, size));
        assert_eq!(whole, pieces, "{api:?}: the renamed response depends on how the response is split");
    }
}

fn renamed(mut renamer: ModelRenamer, data: &[u8], size: usize) -> Vec<u8> {
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
