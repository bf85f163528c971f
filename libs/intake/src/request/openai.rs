//! Parses the bodies of OpenAI's APIs.

use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_types::ResponseKey;

use crate::error::ParseError;
use crate::json::cursor::Cursor;
use crate::json::{deserialize_present, parse_object, parse_token_count, raw_content};
use crate::options::ParseOptions;
use crate::prompt::content::Author;
use crate::prompt::messages::TOOL_CACHE_MARK_DEPTH;
use crate::prompt::root::{Form, Root};
use crate::prompt::{Prompt, form_of};
use crate::request::model::Model;
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
    #[serde(borrow)]
    extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    lora_path: Option<&'a RawValue>,
}

/// A body of the chat completions API.
#[derive(Deserialize)]
struct ChatBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_effort: Option<&'a RawValue>,
    #[serde(borrow)]
    chat_template: Option<&'a RawValue>,
    #[serde(borrow)]
    chat_template_kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    documents: Option<&'a RawValue>,
    #[serde(borrow)]
    mm_processor_kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    media_io_kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    lora_path: Option<&'a RawValue>,
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
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    lora_path: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    store: Option<&'a RawValue>,
    #[serde(borrow)]
    conversation: Option<&'a RawValue>,
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
    #[serde(borrow)]
    extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    lora_path: Option<&'a RawValue>,
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

/// Returns the fields by which vLLM and SGLang separate prompts of their OpenAI APIs.
fn scopes<'a>(
    cache_salt: Option<&'a RawValue>,
    extra_key: Option<&'a RawValue>,
    lora_path: Option<&'a RawValue>,
) -> [(&'static str, Option<&'a str>); 3] {
    [("cache_salt", json(cache_salt)), ("extra_key", json(extra_key)), ("lora_path", json(lora_path))]
}

/// Returns a value as it is written.
pub(super) fn json(value: Option<&RawValue>) -> Option<&str> {
    value.map(RawValue::get)
}

pub(crate) fn parse_completion(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: CompletionBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let value = body.prompt.filter(|prompt| has_content(prompt)).ok_or(ParseError::MissingPrompt)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let fields = &scopes(body.cache_salt, body.extra_key, body.lora_path);
    let mut prompt = Prompt::new(&Root { model: &model.name, form: form_of(value), fields }, options);
    prompt.add_any(value).map_err(|_| ParseError::MissingPrompt)?;
    Ok(assemble(model, prompt, parse_token_count(body.max_tokens), delivery(body.stream)))
}

/// Parses a chat completion. Templates, tools and documents are hashed before the messages: engines render
/// them at the start of the prompt, regardless of their position in the body.
pub(crate) fn parse_chat(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ChatBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let messages = body.messages.filter(|messages| has_elements(messages));
    let messages = messages.ok_or(ParseError::MissingMessages)?;
    let model = Model::parse_required(bytes, body.model, options);
    let name = model.as_ref().map(|model| model.name.as_str()).unwrap_or_default();
    let [salt, key, lora] = scopes(body.cache_salt, body.extra_key, body.lora_path);
    let processor = ("mm_processor_kwargs", json(body.mm_processor_kwargs));
    let fields = &[salt, key, lora, processor, ("media_io_kwargs", json(body.media_io_kwargs))];
    let mut prompt = Prompt::new(&Root { model: name, form: Form::Text, fields }, options);
    prompt.add_field("reasoning_effort", json(body.reasoning_effort), 0);
    prompt.add_field("chat_template", json(body.chat_template), 0);
    prompt.add_field("chat_template_kwargs", json(body.chat_template_kwargs), 0);
    prompt.add_field("tools", present_tools(body.tools), TOOL_CACHE_MARK_DEPTH);
    prompt.add_field("documents", json(body.documents), 0);
    prompt.add_messages(messages.get()).map_err(|_| ParseError::MissingMessages)?;
    let max_output_tokens =
        parse_token_count(body.max_completion_tokens).or_else(|| parse_token_count(body.max_tokens));
    Ok(assemble(model?, prompt, max_output_tokens, delivery(body.stream)))
}

/// Parses a responses request. Tools and instructions are hashed before the input, in the order in which
/// engines render them. Engines render the instructions as a system message.
pub(crate) fn parse_responses(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ResponsesBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let input = body.input.filter(|input| has_content(input)).ok_or(ParseError::MissingResponsesInput)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let [salt, key, lora] = scopes(body.cache_salt, body.extra_key, body.lora_path);
    let previous = ("previous_response_id", json(body.previous_response_id));
    let fields = &[salt, key, lora, previous, ("conversation", conversation_id(body.conversation))];
    let mut prompt = Prompt::new(&Root { model: &model.name, form: Form::Text, fields }, options);
    prompt.add_field("reasoning_effort", member(body.reasoning, "effort"), 0);
    prompt.add_field("tools", present_tools(body.tools), TOOL_CACHE_MARK_DEPTH);
    if let Some(instructions) = body.instructions {
        prompt.add_plain_message("system", Some(instructions.get()), Author::Message);
    }
    prompt.add_input(input.get());
    let parsed = assemble(model, prompt, parse_token_count(body.max_output_tokens), delivery(body.stream));
    let previous = body.previous_response_id.filter(|id| id.get().starts_with('"'));
    Ok(ParsedRequest {
        stored_response: previous.map(|id| ResponseKey::of(raw_content(Some(id)))),
        is_stored: body.store.is_none_or(|store| store.get() != "false"),
        ..parsed
    })
}

pub(crate) fn parse_embeddings(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: EmbeddingsBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let input = body.input.filter(|input| has_content(input)).ok_or(ParseError::MissingEmbeddingsInput)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let fields = &scopes(body.cache_salt, body.extra_key, body.lora_path);
    let mut prompt = Prompt::new(&Root { model: &model.name, form: form_of(input), fields }, options);
    prompt.add_any(input).map_err(|_| ParseError::MissingEmbeddingsInput)?;
    Ok(assemble(model, prompt, None, Delivery::Whole))
}

pub(crate) fn parse_conversation(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: ConversationBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let items = body.items.filter(|items| has_elements(items)).ok_or(ParseError::MissingItems)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let fields = &[("cache_salt", json(body.cache_salt))];
    let mut prompt = Prompt::new(&Root { model: &model.name, form: Form::Text, fields }, options);
    prompt.add_input(items.get());
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

pub(crate) fn parse_image(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ImageBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let is_text = |prompt: &&RawValue| prompt.get().starts_with('"') && has_content(prompt);
    let value = body.prompt.filter(is_text).ok_or(ParseError::MissingImagePrompt)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let fields = &[("cache_salt", json(body.cache_salt))];
    let mut prompt = Prompt::new(&Root { model: &model.name, form: Form::Text, fields }, options);
    prompt.add_escaped(raw_content(Some(value)));
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

/// Returns the tools unless there are none: templates treat an empty array as no tools.
pub(super) fn present_tools(tools: Option<&RawValue>) -> Option<&str> {
    tools.filter(|tools| !tools.get().starts_with('[') || has_content(tools)).map(RawValue::get)
}

/// Returns the member `name` of an object.
pub(super) fn member<'a>(object: Option<&'a RawValue>, name: &str) -> Option<&'a str> {
    Cursor::new(object?.get()).object()?.get(name)
}

/// Returns the id of a conversation, which is given alone or in an object.
fn conversation_id(conversation: Option<&RawValue>) -> Option<&str> {
    member(conversation, "id").or(json(conversation))
}

/// Returns whether a value is an array that is not empty.
pub(super) fn has_elements(value: &RawValue) -> bool {
    value.get().starts_with('[') && has_content(value)
}

/// Returns whether a value is a string or an array that is not empty.
fn has_content(value: &RawValue) -> bool {
    match value.get().as_bytes() {
        [b'"', inner @ .., b'"'] => !inner.is_empty(),
        [b'[', inner @ .., b']'] => !inner.trim_ascii().is_empty(),
        _ => false,
    }
}
