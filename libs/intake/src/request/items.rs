//! Parses the bodies of OpenAI's responses and conversations, which consist of items.

use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_types::ResponseKey;

use crate::error::{JsonError, ParseError};
use crate::json::{deserialize_present, parse_object, parse_token_count, raw_content};
use crate::options::ParseOptions;
use crate::prompt::Prompt;
use crate::prompt::content::Author;
use crate::prompt::messages::TOOL_CACHE_MARK_DEPTH;
use crate::prompt::root::{Form, Root};
use crate::request::model::Model;
use crate::request::openai::{has_content, has_elements, has_text, json, member, present_tools, scopes};
use crate::request::parsed::{ParsedRequest, assemble, assemble_unread, delivery};

/// A body of the responses API.
#[derive(Deserialize)]
struct ResponsesBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
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

/// Parses a responses request. Tools and instructions are hashed before the input, in the order in which
/// engines render them. Engines render the instructions as a system message.
///
/// A request may continue a previous response or a conversation without an input of its own, or name a stored prompt
/// instead, which may name the model. Some clients send the body of a chat: its messages are the input.
pub(crate) fn parse_responses(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ResponsesBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let previous = body.previous_response_id.filter(|id| id.get().starts_with('"'));
    Ok(ParsedRequest {
        stored_response: previous.map(|id| ResponseKey::of(raw_content(Some(id)))),
        is_stored: body.store.is_none_or(|store| store.get() != "false"),
        ..parse_responses_prompt(bytes, &body, options)?
    })
}

/// Parses what a responses request is to be answered.
fn parse_responses_prompt(
    bytes: &[u8],
    body: &ResponsesBody<'_>,
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let max_output_tokens = parse_token_count(body.max_output_tokens);
    let messages = body.messages.filter(|messages| has_elements(messages));
    let Some(input) = body.input.filter(|input| has_content(input)).or(messages) else {
        let stands_for_input = [body.input, body.prompt, body.previous_response_id, body.conversation];
        if !stands_for_input.into_iter().flatten().any(has_text) {
            return Err(ParseError::MissingResponsesInput);
        }
        let model = match body.prompt {
            Some(_) => Model::parse_if_named(bytes, body.model, options)?,
            None => Model::parse_optional(bytes, body.model, options)?,
        };
        return Ok(assemble_unread(model, max_output_tokens, delivery(body.stream)));
    };
    let model = Model::parse_optional(bytes, body.model, options)?;
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
    Ok(assemble(model, prompt, max_output_tokens, delivery(body.stream)))
}

/// Parses the creation of a conversation, which may be empty and need not name a model.
pub(crate) fn parse_conversation(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body = match parse_object::<ConversationBody<'_>>(bytes) {
        Err(JsonError::Empty) => return Ok(ParsedRequest::default()),
        body => body.map_err(ParseError::InvalidJson)?,
    };
    let model = Model::parse_if_named(bytes, body.model, options)?;
    let fields = &[("cache_salt", json(body.cache_salt))];
    let mut prompt = Prompt::new(&Root { model: &model.name, form: Form::Text, fields }, options);
    match body.items {
        Some(items) if has_elements(items) => prompt.add_input(items.get()),
        Some(items) if has_text(items) => {
            return Ok(assemble_unread(model, None, delivery(body.stream)));
        }
        _ => {}
    }
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}

/// Returns the id of a conversation, which is given alone or in an object.
fn conversation_id(conversation: Option<&RawValue>) -> Option<&str> {
    member(conversation, "id").or(json(conversation))
}
