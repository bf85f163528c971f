//! Fuzzes the parsers of request bodies.

use bytes::Bytes;
use signalbox_intake::{Api, ParseOptions, parse, replace_model};

const PATHS: [&str; 20] = [
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
    "/generate_stream",
    "/rerank",
    "/vllm.grpc.engine.VllmEngine/Generate",
    "/vllm.grpc.engine.VllmEngine/Embed",
    "/google.cloud.aiplatform.v1.PredictionService/ChatCompletions",
    "/google.cloud.aiplatform.v1.PredictionService/RawPredict",
    "/v1/models",
    "/",
];

/// Parses the data as a body of every API, replaces the model, and parses the result.
pub(crate) fn run(data: &[u8]) {
    let (body, how) = (Bytes::copy_from_slice(data), ParseOptions::new(64));
    for path in PATHS {
        let api = Api::for_path(path);
        let Ok(read) = parse(api, &body, &how) else { continue };
        let again = parse(api, &body, &how);
        assert_eq!(Some(&read), again.as_ref().ok(), "two parses of one body differ");
        let Some(span) = read.model_span.clone() else { continue };
        let other = replace_model(api, &body, &span, "an\"other");
        let renamed = parse(api, &other, &how).expect("the body is valid with another model");
        assert_eq!("an\"other", renamed.request.model);
        assert_eq!(read.request.prompt_tokens, renamed.request.prompt_tokens);
    }
}
