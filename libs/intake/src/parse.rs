//! Reads a body.

use std::ops::Range;

use serde_json::value::RawValue;
use signalbox_types::{BlockHash, Request};

use crate::api::Api;
use crate::body::Model;
use crate::error::IntakeError;
use crate::prompt::Prompt;
use crate::{anthropic, generate, grpc, openai, vertex};

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// What a decision needs to know of the request.
    pub request: Request,
    /// The full blocks of the prompt, the first one first; empty where there is no prompt.
    pub chain: Vec<BlockHash>,
    /// How the client wants its answer.
    pub delivery: Delivery,
    /// What the body calls the model, where the request goes to another one; empty where it names none.
    pub asked_model: Option<String>,
    /// Where in the body the JSON value of the model's name stands, its quotes included, or where it could, for
    /// [`crate::splice_model`].
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

/// How a body is to be read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Size of a hashed block of prompt, in bytes.
    pub block_bytes: u32,
    /// The model that serves a request for another one, or for none (empty); `None` where it is that itself.
    pub target: &'a dyn Fn(&str) -> Option<String>,
}

impl Reading<'_> {
    /// In blocks of so many bytes, each model served by itself.
    pub fn plain(block_bytes: u32) -> Self {
        Self { block_bytes, target: &|_| None }
    }
}

/// Reads a body of `api`: the model that serves it, the length of the prompt, its chain in blocks, and how much
/// is to come back. What is [`Api::Opaque`] is not looked at.
///
/// Of text, the bytes are hashed as they stand in the body: what stands between the quotes, or a whole array; of
/// a chat the role, the content and the calls of tools of each message, in the same way, each ended by a separator;
/// before them what engines render first (tools, system prompts, documents, templates). Of token ids, 4 little-endian
/// bytes each are hashed, so that a block is a quarter as many tokens as bytes, and images are told apart by their hashes
/// where they stand. Requests with different cache salts share no block.
///
/// # Errors
/// Anything that a model server would refuse for want of JSON, prompt or model; see [`IntakeError`].
pub fn parse(api: Api, body: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    match api {
        Api::Completions => openai::completion(body, how),
        Api::Chat => openai::chat(body, how),
        Api::Responses => openai::responses(body, how),
        Api::Embeddings => openai::embeddings(body, how),
        Api::Conversations => openai::conversation(body, how),
        Api::Images => openai::image(body, how),
        Api::Messages => anthropic::messages(body, how),
        Api::VllmGenerate => generate::vllm(body, how),
        Api::SglangGenerate => generate::sglang(body, how),
        Api::VllmGrpcGenerate => grpc::generate(body, how),
        Api::VllmGrpcEmbed => grpc::embed(body, how),
        Api::VertexChat => vertex::chat(body, how),
        Api::VertexPredict => vertex::predict(body, how),
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
    Intake { request, chain, delivery, asked_model: model.asked, model_span: model.span }
}

/// What the value of `stream` asks for.
pub(crate) fn delivery(stream: Option<&RawValue>) -> Delivery {
    match stream.map(RawValue::get) {
        Some("true") => Delivery::Streamed,
        _ => Delivery::Whole,
    }
}
