//! Reads a body.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use signalbox_prefix::ChainHasher;
use signalbox_types::{BlockHash, Request};

use crate::api::Api;
use crate::body::{ChatBody, CompletionBody, raw_content, token_count};
use crate::error::IntakeError;
use crate::messages::Messages;

/// Stands after each hashed field of a message. No JSON value can hold this byte as it is, so no two different
/// chats give the same bytes.
const SEPARATOR: &[u8] = b"\x1f";

/// Bytes of prompt that count as one token.
const TOKEN_BYTES: u64 = 4;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// What a decision needs to know of the request.
    pub request: Request,
    /// The full blocks of the prompt, the first one first; empty where there is no prompt.
    pub chain: Vec<BlockHash>,
    /// How the client wants its answer.
    pub delivery: Delivery,
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
/// Hashed are the bytes as they stand in the body. Of a prompt these are what stands between the quotes, or
/// a whole array; of a chat the role and the content of each message, in the same way, a separator after each.
///
/// # Errors
/// Anything that a model server would refuse for want of JSON, prompt or model; see [`IntakeError`].
pub fn parse(api: Api, body: &[u8], block_bytes: u32) -> Result<Intake, IntakeError> {
    match api {
        Api::Completions => read_completion(body, block_bytes),
        Api::Chat => read_chat(body, block_bytes),
        Api::Opaque => Ok(Intake::default()),
    }
}

fn read_completion(body: &[u8], block_bytes: u32) -> Result<Intake, IntakeError> {
    require_object(body)?;
    let body: CompletionBody<'_> = serde_json::from_slice(body)?;
    let prompt = prompt_bytes(body.prompt).ok_or(IntakeError::NoPrompt)?;
    let model = model_name(body.model)?;
    let mut hasher = ChainHasher::new(&model, block_bytes);
    hasher.update(prompt);
    let prompt_tokens = hasher.len_bytes().div_ceil(TOKEN_BYTES);
    let max_output_tokens = token_count(body.max_tokens);
    Ok(Intake {
        request: Request { model, prompt_tokens, max_output_tokens, ..Request::default() },
        chain: hasher.finish(),
        delivery: delivery(body.stream),
    })
}

fn read_chat(body: &[u8], block_bytes: u32) -> Result<Intake, IntakeError> {
    require_object(body)?;
    let body: ChatBody<'_, Messages<'_>> =
        serde_json::from_slice(body).map_err(|error| chat_error(body, error))?;
    let messages = body.messages.filter(|messages| !messages.kept.is_empty());
    let messages = messages.ok_or(IntakeError::NoMessages)?;
    let model = model_name(body.model)?;
    let mut hasher = ChainHasher::new(&model, block_bytes);
    for message in &messages.kept {
        for field in [message.role, message.content] {
            hasher.update(raw_content(field));
            hasher.update(SEPARATOR);
        }
    }
    let prompt_tokens = (hasher.len_bytes() + messages.rest_bytes).div_ceil(TOKEN_BYTES);
    let max_output_tokens = token_count(body.max_completion_tokens).or_else(|| token_count(body.max_tokens));
    Ok(Intake {
        request: Request { model, prompt_tokens, max_output_tokens, ..Request::default() },
        chain: hasher.finish(),
        delivery: delivery(body.stream),
    })
}

/// Refuses JSON that is no object. What is no JSON either passes if it looks like an object: reading it tells more.
fn require_object(body: &[u8]) -> Result<(), IntakeError> {
    if body.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    serde_json::from_slice::<IgnoredAny>(body)?;
    Err(IntakeError::NoObject)
}

/// Tells a chat whose messages are wrong from one that is wrong elsewhere, by reading it again without them.
fn chat_error(body: &[u8], error: serde_json::Error) -> IntakeError {
    let without = serde_json::from_slice::<ChatBody<'_, IgnoredAny>>(body);
    match without {
        Ok(_) => IntakeError::NoMessages,
        Err(_) => IntakeError::Json(error),
    }
}

/// The bytes of a prompt that says something.
fn prompt_bytes(prompt: Option<&RawValue>) -> Option<&[u8]> {
    let text = prompt?.get();
    let empty = match text.as_bytes() {
        [b'"', inner @ .., b'"'] => inner.is_empty(),
        [b'[', inner @ .., b']'] => inner.trim_ascii().is_empty(),
        _ => true,
    };
    (!empty).then(|| raw_content(prompt))
}

fn model_name(model: Option<&RawValue>) -> Result<String, IntakeError> {
    let text = model.map(RawValue::get).filter(|text| text.starts_with('"'));
    let name: String = serde_json::from_str(text.ok_or(IntakeError::NoModel)?)?;
    if name.is_empty() { Err(IntakeError::NoModel) } else { Ok(name) }
}

fn delivery(stream: Option<&RawValue>) -> Delivery {
    match stream.map(RawValue::get) {
        Some("true") => Delivery::Streamed,
        _ => Delivery::Whole,
    }
}
