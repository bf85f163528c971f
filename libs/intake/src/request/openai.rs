//! Parses the bodies of OpenAI's completions and chats.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{MessagesError, ParseError};
use crate::json::cursor::Cursor;
use crate::json::{deserialize_present, parse_object, parse_token_count};
use crate::options::ParseOptions;
use crate::prompt::messages::TOOL_CACHE_MARK_DEPTH;
use crate::prompt::root::{Form, Root};
use crate::prompt::{Prompt, form_of};
use crate::request::model::Model;
use crate::request::parsed::{ParsedRequest, assemble, assemble_unread, delivery};

/// A body of the completions API.
#[derive(Deserialize)]
struct CompletionBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_embeds: Option<&'a RawValue>,
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

/// Returns the fields by which vLLM and SGLang separate prompts of their OpenAI APIs.
pub(super) fn scopes<'a>(
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

/// Parses a completion. Embeddings stand for a prompt, or precede it, and are not read.
pub(crate) fn parse_completion(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: CompletionBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let has_embeddings = body.prompt_embeds.is_some_and(has_content);
    let value = body.prompt.filter(|prompt| has_content(prompt) || has_text(prompt));
    if value.is_none() && !has_embeddings {
        return Err(ParseError::MissingPrompt);
    }
    let model = Model::parse_optional(bytes, body.model, options)?;
    let (max_tokens, delivery) = (parse_token_count(body.max_tokens), delivery(body.stream));
    let Some(value) = value.filter(|_| !has_embeddings) else {
        return Ok(assemble_unread(model, max_tokens, delivery));
    };
    let fields = &scopes(body.cache_salt, body.extra_key, body.lora_path);
    let mut prompt = Prompt::new(&Root { model: &model.name, form: form_of(value), fields }, options);
    match prompt.add_any(value) {
        Ok(()) => Ok(assemble(model, prompt, max_tokens, delivery)),
        Err(_) if has_text(value) => Ok(assemble_unread(model, max_tokens, delivery)),
        Err(_) => Err(ParseError::MissingPrompt),
    }
}

/// Parses a chat completion. Templates, tools and documents are hashed before the messages: engines render
/// them at the start of the prompt, regardless of their position in the body.
pub(crate) fn parse_chat(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ChatBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let messages = body.messages.filter(|messages| has_elements(messages) || has_text(messages));
    let messages = messages.ok_or(ParseError::MissingMessages)?;
    let model = Model::parse_optional(bytes, body.model, options);
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
    let max_output_tokens =
        parse_token_count(body.max_completion_tokens).or_else(|| parse_token_count(body.max_tokens));
    match prompt.add_messages(messages.get()) {
        Ok(()) => Ok(assemble(model?, prompt, max_output_tokens, delivery(body.stream))),
        Err(MessagesError::NotMessages) if has_text(messages) => {
            Ok(assemble_unread(model?, max_output_tokens, delivery(body.stream)))
        }
        Err(MessagesError::NotMessages) => Err(ParseError::MissingMessages),
        Err(error) => Err(ParseError::InvalidMessages(error)),
    }
}

/// Returns the tools unless there are none: templates treat an empty array as no tools.
pub(super) fn present_tools(tools: Option<&RawValue>) -> Option<&str> {
    tools.filter(|tools| !tools.get().starts_with('[') || has_content(tools)).map(RawValue::get)
}

/// Returns the member `name` of an object.
pub(super) fn member<'a>(object: Option<&'a RawValue>, name: &str) -> Option<&'a str> {
    Cursor::new(object?.get()).object()?.get(name)
}

/// Returns whether a value is an array that is not empty.
pub(super) fn has_elements(value: &RawValue) -> bool {
    value.get().starts_with('[') && has_content(value)
}

/// Returns whether a value contains text, other than an empty string. What contains none is no prompt in any form.
pub(super) fn has_text(value: &RawValue) -> bool {
    let json = value.get();
    json.contains('"') && json != "\"\""
}

/// Returns whether a value is a string or an array that is not empty.
pub(super) fn has_content(value: &RawValue) -> bool {
    match value.get().as_bytes() {
        [b'"', inner @ .., b'"'] => !inner.is_empty(),
        [b'[', inner @ .., b']'] => !inner.trim_ascii().is_empty(),
        _ => false,
    }
}
