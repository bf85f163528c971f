//! Bodies of OpenAI's APIs.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::body::{
    ChatBody, CompletionBody, ConversationBody, EmbeddingsBody, ImageBody, Model, ResponsesBody, raw_content,
    read_object, token_count,
};
use crate::error::{IntakeError, Malformed};
use crate::messages::Messages;
use crate::parse::{Delivery, Intake, Reading, assemble, delivery};
use crate::prompt::Prompt;

pub(crate) fn completion(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: CompletionBody<'_> = read_object(bytes).map_err(IntakeError::Json)?;
    let said = body.prompt.filter(|prompt| says_something(prompt)).ok_or(IntakeError::NoPrompt)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.any(said).map_err(|_| IntakeError::NoPrompt)?;
    Ok(assemble(model, prompt, token_count(body.max_tokens), delivery(body.stream)))
}

/// Templates, tools and documents are hashed before the messages: wherever a request names them, engines render them
/// into the beginning.
pub(crate) fn chat(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: ChatBody<'_, Messages<'_>> = read_object(bytes).map_err(|error| chat_error(bytes, error))?;
    let messages = body.messages.filter(|messages| !messages.kept.is_empty());
    let messages = messages.ok_or(IntakeError::NoMessages)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.optional("chat_template", body.chat_template);
    prompt.optional("chat_template_kwargs", body.chat_template_kwargs);
    prompt.optional("tools", body.tools);
    prompt.optional("documents", body.documents);
    messages.add_to(&mut prompt);
    let max_output_tokens = token_count(body.max_completion_tokens).or_else(|| token_count(body.max_tokens));
    Ok(assemble(model, prompt, max_output_tokens, delivery(body.stream)))
}

/// Tools and instructions are hashed before the input, as engines render them.
pub(crate) fn responses(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: ResponsesBody<'_> = read_object(bytes).map_err(IntakeError::Json)?;
    let input = body.input.filter(|input| says_something(input)).ok_or(IntakeError::NoResponsesInput)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.optional("tools", body.tools);
    prompt.optional("instructions", body.instructions);
    prompt.text(raw_content(Some(input)));
    Ok(assemble(model, prompt, token_count(body.max_output_tokens), delivery(body.stream)))
}

pub(crate) fn embeddings(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: EmbeddingsBody<'_> = read_object(bytes).map_err(IntakeError::Json)?;
    let input = body.input.filter(|input| says_something(input)).ok_or(IntakeError::NoEmbeddingsInput)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.any(input).map_err(|_| IntakeError::NoEmbeddingsInput)?;
    Ok(assemble(model, prompt, None, Delivery::Whole))
}

pub(crate) fn conversation(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: ConversationBody<'_> = read_object(bytes).map_err(IntakeError::Json)?;
    let is_list = |items: &&RawValue| items.get().starts_with('[') && says_something(items);
    let items = body.items.filter(is_list).ok_or(IntakeError::NoItems)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.text(raw_content(Some(items)));
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

pub(crate) fn image(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: ImageBody<'_> = read_object(bytes).map_err(IntakeError::Json)?;
    let is_text = |prompt: &&RawValue| prompt.get().starts_with('"') && says_something(prompt);
    let said = body.prompt.filter(is_text).ok_or(IntakeError::NoImagePrompt)?;
    let model = Model::required(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    prompt.text(raw_content(Some(said)));
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

/// Tells a chat whose messages are wrong from one that is wrong elsewhere, by reading it again without them.
fn chat_error(body: &[u8], error: Malformed) -> IntakeError {
    match read_object::<ChatBody<'_, IgnoredAny>>(body) {
        Ok(_) => IntakeError::NoMessages,
        Err(_) => IntakeError::Json(error),
    }
}

/// Whether a value is a string or an array with something in it.
fn says_something(value: &RawValue) -> bool {
    match value.get().as_bytes() {
        [b'"', inner @ .., b'"'] => !inner.is_empty(),
        [b'[', inner @ .., b']'] => !inner.trim_ascii().is_empty(),
        _ => false,
    }
}
