//! Reads a body.

use std::ops::Range;

use serde_json::value::RawValue;
use signalbox_types::{BlockHash, Request};

use crate::api::Api;
use crate::body::Model;
use crate::error::IntakeError;
use crate::prompt::Prompt;
use crate::{anthropic, generate, grpc, openai};

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// What a decision needs to know of the request.
    pub request: Request,
    /// The full blocks of the prompt, the first one first; empty where there is no prompt.
    pub chain: Vec<BlockHash>,
    /// How the client wants its answer.
    pub delivery: Delivery,
    /// Where in the body the JSON value of the model's name stands, its quotes included; for [`crate::splice_model`].
    pub model_span: Option<Range<usize>>,
}

/// How a client wants its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece, when it is done.
    #[default]
    Whole,
    /// As a stream of events, token by token.
    Streamed,
}

/// Reads a body of `api`: the model, the length of the prompt, its chain in blocks of `block_bytes`, and how much
/// is to come back. What is [`Api::Opaque`] is not looked at.
///
/// Of text, the bytes are hashed as they stand in the body: what stands between the quotes, or a whole array; of
/// a chat the role, the content and the calls of tools of each message, in the same way, each ended by a separator;
/// before them what engines render first (tools, system prompts, documents, templates). Of token ids, 4 little-endian
/// bytes each are hashed, so that a block is `block_bytes / 4` tokens, and images are told apart by their hashes
/// where they stand. Requests with different cache salts share no block.
///
/// # Errors
/// Anything that a model server would refuse for want of JSON, prompt or model; see [`IntakeError`].
pub fn parse(api: Api, body: &[u8], block_bytes: u32) -> Result<Intake, IntakeError> {
    match api {
        Api::Completions => openai::completion(body, block_bytes),
        Api::Chat => openai::chat(body, block_bytes),
        Api::Responses => openai::responses(body, block_bytes),
        Api::Embeddings => openai::embeddings(body, block_bytes),
        Api::Conversations => openai::conversation(body, block_bytes),
        Api::Images => openai::image(body, block_bytes),
        Api::Messages => anthropic::messages(body, block_bytes),
        Api::VllmGenerate => generate::vllm(body, block_bytes),
        Api::SglangGenerate => generate::sglang(body, block_bytes),
        Api::VllmGrpcGenerate => grpc::generate(body, block_bytes),
        Api::VllmGrpcEmbed => grpc::embed(body, block_bytes),
        Api::Opaque => Ok(Intake::default()),
    }
}

/// Puts together what was read.
pub(crate) fn assemble(
    model: Model,
    prompt: Prompt,
    max_output_tokens: Option<u64>,
    delivery: Delivery,
) -> Intake {
    let (prompt_tokens, chain) = prompt.finish();
    let request = Request { model: model.name, prompt_tokens, max_output_tokens, ..Request::default() };
    Intake { request, chain, delivery, model_span: model.span }
}

/// What the value of `stream` asks for.
pub(crate) fn delivery(stream: Option<&RawValue>) -> Delivery {
    match stream.map(RawValue::get) {
        Some("true") => Delivery::Streamed,
        _ => Delivery::Whole,
    }
}
