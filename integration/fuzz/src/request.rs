//! Request bodies.

use bytes::Bytes;
use signalbox_intake::{Api, Reading, parse, splice_model};

const PATHS: [&str; 18] = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/completions/render",
    "/v1/chat/completions/render",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/conversations",
    "/v1/images/generations",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/inference/v1/generate",
    "/generate",
    "/vllm.grpc.engine.VllmEngine/Generate",
    "/vllm.grpc.engine.VllmEngine/Embed",
    "/google.cloud.aiplatform.v1.PredictionService/ChatCompletions",
    "/google.cloud.aiplatform.v1.PredictionService/RawPredict",
    "/v1/models",
    "/",
];

/// Reads them as a body of every API; what is read of a model can be replaced and read again.
pub(crate) fn run(data: &[u8]) {
    let (body, how) = (Bytes::copy_from_slice(data), Reading::plain(64));
    for path in PATHS {
        let api = Api::of_path(path);
        let Ok(read) = parse(api, &body, &how) else { continue };
        let again = parse(api, &body, &how);
        assert_eq!(Some(&read), again.as_ref().ok(), "a body is read twice in two ways");
        let Some(span) = read.model_span.clone() else { continue };
        let other = splice_model(api, &body, &span, "an\"other");
        let renamed = parse(api, &other, &how).expect("with another model it is as good as before");
        assert_eq!("an\"other", renamed.request.model);
        assert_eq!(read.request.prompt_tokens, renamed.request.prompt_tokens);
    }
}
