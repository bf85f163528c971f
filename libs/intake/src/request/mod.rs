//! Parses request bodies.

mod anthropic;
mod engine_http;
mod model;
mod openai;
mod options;
mod parsed;
mod replace_model;
mod vertex;
mod vllm_grpc;

pub use options::ParseOptions;
pub use parsed::{Delivery, ParsedRequest};
pub use replace_model::replace_model;

use crate::api::Api;
use crate::error::ParseError;

/// Parses a body of `api`: the model that serves the request, the length and the chain of the prompt, and the
/// output limit. A body of [`Api::Opaque`] is not read.
///
/// Text is hashed as it is written in the body: what is between the quotes of a string, or a whole array. For
/// a chat, the role, content and tool calls of each message are hashed in the same way, each followed by a
/// separator. What engines render first (tools, system prompts, documents, templates) is hashed before them.
/// Token ids are hashed as 4 little-endian bytes each, so that a block has a quarter as many tokens as bytes,
/// and media are distinguished by their hashes at the position where they appear. Requests with different
/// cache salts share no block.
///
/// # Errors
/// Returns [`ParseError`] for any body that a model server would reject because the JSON, the prompt or the
/// model is missing or invalid.
pub fn parse(api: Api, body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    match api {
        Api::Completions => openai::parse_completion(body, options),
        Api::Chat => openai::parse_chat(body, options),
        Api::Responses => openai::parse_responses(body, options),
        Api::Embeddings => openai::parse_embeddings(body, options),
        Api::Conversations => openai::parse_conversation(body, options),
        Api::Images => openai::parse_image(body, options),
        Api::Messages => anthropic::parse_messages(body, options),
        Api::VllmGenerate => engine_http::parse_vllm(body, options),
        Api::SglangGenerate => engine_http::parse_sglang(body, options),
        Api::VllmGrpcGenerate => vllm_grpc::parse_generate(body, options),
        Api::VllmGrpcEmbed => vllm_grpc::parse_embed(body, options),
        Api::VertexChat => vertex::parse_chat(body, options),
        Api::VertexPredict => vertex::parse_predict(body, options),
        Api::Opaque => Ok(ParsedRequest::default()),
    }
}
