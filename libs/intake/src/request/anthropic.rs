//! Parses the bodies of Anthropic's API.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::{JsonError, ParseError};
use crate::json::{deserialize_present, parse_object, parse_token_count};
use crate::prompt::Prompt;
use crate::prompt::messages::Messages;
use crate::request::model::Model;
use crate::request::options::ParseOptions;
use crate::request::parsed::{ParsedRequest, assemble, delivery};

/// A body of the messages API. `M` is the type of its messages.
#[derive(Deserialize)]
#[serde(bound(deserialize = "M: Deserialize<'de>"))]
struct MessagesBody<'a, M> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    messages: Option<M>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// Parses a messages request. Tools and the system prompt are hashed before the messages, in the order in
/// which engines render them.
pub(crate) fn parse_messages(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: MessagesBody<'_, Messages<'_>> =
        parse_object(bytes).map_err(|error| messages_error(bytes, error))?;
    let messages = body.messages.filter(|messages| !messages.kept.is_empty());
    let messages = messages.ok_or(ParseError::MissingAnthropicMessages)?;
    let model = Model::parse_required(bytes, body.model, options)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, options.block_bytes);
    prompt.add_optional_field("tools", body.tools);
    prompt.add_optional_field("system", body.system);
    messages.add_to(&mut prompt);
    Ok(assemble(model, prompt, parse_token_count(body.max_tokens), delivery(body.stream)))
}

/// Distinguishes a body with invalid messages from one that is invalid elsewhere, by parsing it again without
/// the messages.
fn messages_error(body: &[u8], error: JsonError) -> ParseError {
    match parse_object::<MessagesBody<'_, IgnoredAny>>(body) {
        Ok(_) => ParseError::InvalidAnthropicMessages(error),
        Err(_) => ParseError::InvalidAnthropicJson(error),
    }
}
