//! Parses the bodies of Anthropic's API.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{MessagesError, ParseError};
use crate::json::{deserialize_present, parse_object, parse_token_count};
use crate::options::ParseOptions;
use crate::prompt::Prompt;
use crate::prompt::content::Author;
use crate::prompt::messages::TOOL_CACHE_MARK_DEPTH;
use crate::prompt::root::{Form, Root};
use crate::request::model::Model;
use crate::request::openai::{has_elements, has_text, json, member, present_tools};
use crate::request::parsed::{ParsedRequest, assemble, assemble_unread, delivery};

/// A body of the messages API.
#[derive(Deserialize)]
struct MessagesBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
    #[serde(borrow)]
    chat_template_kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// Parses a messages request. Tools and the system prompt are hashed before the messages, in the order in
/// which engines render them. Engines render the system prompt as a system message, and the effort in
/// `output_config` as the reasoning effort.
pub(crate) fn parse_messages(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: MessagesBody<'_> = parse_object(bytes).map_err(ParseError::InvalidAnthropicJson)?;
    let is_empty = |messages: &&RawValue| messages.get().starts_with('[') && !has_elements(messages);
    let messages = body.messages.filter(|messages| !is_empty(messages));
    let messages = messages.ok_or(ParseError::MissingAnthropicMessages)?;
    let model = Model::parse_required(bytes, body.model, options);
    let name = model.as_ref().map(|model| model.name.as_str()).unwrap_or_default();
    let fields = &[("cache_salt", json(body.cache_salt))];
    let mut prompt = Prompt::new(&Root { model: name, form: Form::Text, fields }, options);
    prompt.add_field("reasoning_effort", member(body.output_config, "effort"), 0);
    prompt.add_field("chat_template_kwargs", json(body.chat_template_kwargs), 0);
    prompt.add_field("tools", present_tools(body.tools), TOOL_CACHE_MARK_DEPTH);
    if let Some(system) = body.system.filter(|system| !is_empty_text(system)) {
        prompt.add_plain_message("system", Some(system.get()), Author::AnthropicSystem);
    }
    let (max_tokens, delivery) = (parse_token_count(body.max_tokens), delivery(body.stream));
    match prompt.add_messages(messages.get()) {
        Ok(()) => Ok(assemble(model?, prompt, max_tokens, delivery)),
        Err(MessagesError::NotMessages) if has_text(messages) => {
            Ok(assemble_unread(model?, max_tokens, delivery))
        }
        Err(error) => Err(ParseError::InvalidAnthropicMessages(error)),
    }
}

/// Returns whether a system prompt is an empty string or an empty array, for which engines render no message.
fn is_empty_text(system: &RawValue) -> bool {
    let json = system.get();
    json == "\"\"" || json.starts_with('[') && !has_elements(system)
}
