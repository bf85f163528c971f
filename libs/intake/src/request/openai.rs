//! Parses the bodies of OpenAI's APIs.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::{JsonError, ParseError};
use crate::json::{deserialize_present, parse_object, parse_token_count, raw_content};
use crate::prompt::Prompt;
use crate::prompt::messages::Messages;
use crate::request::model::Model;
use crate::request::options::ParseOptions;
use crate::request::parsed::{Delivery, ParsedRequest, assemble, delivery};

/// A body of the completions API.
#[derive(Deserialize)]
struct CompletionBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// A body of the chat completions API. `M` is the type of its messages.
#[derive(Deserialize)]
#[serde(bound(deserialize = "M: Deserialize<'de>"))]
struct ChatBody<'a, M> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    messages: Option<M>,
    #[serde(borrow)]
    chat_template: Option<&'a RawValue>,
    #[serde(borrow)]
    chat_template_kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    documents: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// A body of the responses API.
#[derive(Deserialize)]
struct ResponsesBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// A body of the embeddings API.
#[derive(Deserialize)]
struct EmbeddingsBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// A body of the conversations API.
#[derive(Deserialize)]
struct ConversationBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// A body of the images API.
#[derive(Deserialize)]
struct ImageBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

pub(crate) fn parse_completion(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: CompletionBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let value = body.prompt.filter(|prompt| has_content(prompt)).ok_or(ParseError::MissingPrompt)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_any(value).map_err(|_| ParseError::MissingPrompt)?;
    Ok(assemble(model, prompt, parse_token_count(body.max_tokens), delivery(body.stream)))
}

/// Parses a chat completion. Templates, tools and documents are hashed before the messages: engines render
/// them at the start of the prompt, regardless of their position in the body.
pub(crate) fn parse_chat(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ChatBody<'_, Messages<'_>> = parse_object(bytes).map_err(|error| chat_error(bytes, error))?;
    let messages = body.messages.filter(|messages| !messages.kept.is_empty());
    let messages = messages.ok_or(ParseError::MissingMessages)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_optional_field("chat_template", body.chat_template);
    prompt.add_optional_field("chat_template_kwargs", body.chat_template_kwargs);
    prompt.add_optional_field("tools", body.tools);
    prompt.add_optional_field("documents", body.documents);
    messages.add_to(&mut prompt);
    let max_output_tokens =
        parse_token_count(body.max_completion_tokens).or_else(|| parse_token_count(body.max_tokens));
    Ok(assemble(model, prompt, max_output_tokens, delivery(body.stream)))
}

/// Parses a responses request. Tools and instructions are hashed before the input, in the order in which
/// engines render them.
pub(crate) fn parse_responses(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ResponsesBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let input = body.input.filter(|input| has_content(input)).ok_or(ParseError::MissingResponsesInput)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_optional_field("tools", body.tools);
    prompt.add_optional_field("instructions", body.instructions);
    prompt.add_text(raw_content(Some(input)));
    Ok(assemble(model, prompt, parse_token_count(body.max_output_tokens), delivery(body.stream)))
}

pub(crate) fn parse_embeddings(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: EmbeddingsBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let input = body.input.filter(|input| has_content(input)).ok_or(ParseError::MissingEmbeddingsInput)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_any(input).map_err(|_| ParseError::MissingEmbeddingsInput)?;
    Ok(assemble(model, prompt, None, Delivery::Whole))
}

pub(crate) fn parse_conversation(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: ConversationBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let is_list = |items: &&RawValue| items.get().starts_with('[') && has_content(items);
    let items = body.items.filter(is_list).ok_or(ParseError::MissingItems)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_text(raw_content(Some(items)));
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

pub(crate) fn parse_image(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ImageBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let is_text = |prompt: &&RawValue| prompt.get().starts_with('"') && has_content(prompt);
    let value = body.prompt.filter(is_text).ok_or(ParseError::MissingImagePrompt)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_text(raw_content(Some(value)));
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

/// Distinguishes a chat with invalid messages from a body that is invalid elsewhere, by parsing it again
/// without the messages.
fn chat_error(body: &[u8], error: JsonError) -> ParseError {
    match parse_object::<ChatBody<'_, IgnoredAny>>(body) {
        Ok(_) => ParseError::MissingMessages,
        Err(_) => ParseError::InvalidJson(error),
    }
}

/// Returns whether a value is a string or an array that is not empty.
fn has_content(value: &RawValue) -> bool {
    match value.get().as_bytes() {
        [b'"', inner @ .., b'"'] => !inner.is_empty(),
        [b'[', inner @ .., b']'] => !inner.trim_ascii().is_empty(),
        _ => false,
    }
}
