//! Parses request bodies.

mod anthropic;
mod embeddings;
mod engine_http;
mod items;
mod model;
mod model_only;
mod named_model;
mod openai;
mod parsed;
mod replace_model;
mod shape;
mod vertex;
mod vllm_grpc;

pub use named_model::{models_in_path, named_model};
pub use parsed::{Delivery, ParsedRequest, Unread};
pub use replace_model::replace_model;

use crate::api::Api;
use crate::error::ParseError;
use crate::json::with_finite_numbers;
use crate::options::ParseOptions;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses a body of `api`: the model that serves the request, the length and the chain of the prompt, and the
/// output limit. A body of [`Api::Opaque`] is not read. For [`Api::ByShape`] the result names the API that was found.
///
/// Text is hashed and counted in decoded form, as the UTF-8 of the characters that it stands for. How JSON is
/// written makes no difference to the chain: escapes, whitespace, and whether a content is a string or one
/// part with it.
///
/// What engines render is hashed in the order in which they render it: reasoning effort, templates, tools and
/// documents, the system prompt, then of each message its role, name, reasoning, content and tool calls. What
/// they ignore is left out: cache marks and Claude Code's billing line. A medium is hashed as one digest and
/// weighs tokens of its kind ([`signalbox_types::MediaWeights`]).
///
/// Token ids are hashed as 4 little-endian bytes each, so that a block has a quarter as many tokens as bytes,
/// and media are distinguished by their hashes at the position where they appear. Requests with different
/// cache salts, adapter paths, previous responses or conversations share no block.
///
/// A body may begin with a byte order mark, and contain the numbers `NaN` and `Infinity`, which JSON lacks: engines
/// read it with Python's parser, which accepts both.
///
/// What an engine might read although it is not known here is in [`ParsedRequest::unread`].
///
/// # Errors
/// Returns [`ParseError`] for any body that no model server could take because the JSON, the prompt or the
/// model is missing or invalid.
pub fn parse(api: Api, body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let text = if api.is_grpc() { body } else { without_byte_order_mark(body) };
    let mut parsed = parse_text(api, text, options);
    if let Err(error) = &parsed
        && error.is_syntax()
        && !api.is_grpc()
        && let Some(finite) = with_finite_numbers(text)
    {
        parsed = parse_text(api, &finite, options);
    }
    let mark = body.len() - text.len();
    parsed.map(|parsed| {
        let model_span = parsed.model_span.map(|span| span.start + mark..span.end + mark);
        ParsedRequest { model_span, ..parsed }
    })
}

fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Parses a body without a byte order mark.
fn parse_text(api: Api, body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let api = if api == Api::ByShape { shape::api_of(body)? } else { api };
    let parsed = match api {
        Api::Completions => openai::parse_completion(body, options),
        Api::Chat => openai::parse_chat(body, options),
        Api::Responses => items::parse_responses(body, options),
        Api::Embeddings => embeddings::parse_embeddings(body, options),
        Api::Conversations => items::parse_conversation(body, options),
        Api::Images => embeddings::parse_image(body, options),
        Api::Messages => anthropic::parse_messages(body, options),
        Api::VllmGenerate => engine_http::parse_vllm(body, options),
        Api::Generate => engine_http::parse_generate(body, options),
        Api::GenerateStream => engine_http::parse_generate(body, options)
            .map(|parsed| ParsedRequest { delivery: Delivery::Streamed, ..parsed }),
        Api::VllmGrpcGenerate => vllm_grpc::parse_generate(body, options),
        Api::VllmGrpcEmbed => vllm_grpc::parse_embed(body, options),
        Api::VertexChat => vertex::parse_chat(body, options),
        Api::VertexPredict => vertex::parse_predict(body, options),
        Api::ModelJson => model_only::parse_json(body, options),
        Api::ModelForm => model_only::parse_form(body, options),
        Api::Opaque | Api::ByShape => Ok(ParsedRequest::default()),
    };
    parsed.map(|parsed| {
        let lacks_model = api.may_omit_model() && parsed.request.model.is_empty();
        let unread = parsed.unread.or(lacks_model.then_some(Unread::Model));
        ParsedRequest { api, unread, ..parsed }
    })
}
