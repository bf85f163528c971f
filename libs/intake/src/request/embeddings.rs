//! Parses the bodies of OpenAI's embeddings and images.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ParseError;
use crate::json::{deserialize_present, parse_object, raw_content};
use crate::options::ParseOptions;
use crate::prompt::content::Author;
use crate::prompt::root::{Form, Root};
use crate::prompt::{Prompt, form_of};
use crate::request::model::Model;
use crate::request::openai::{has_content, has_text, json, parse_chat, scopes};
use crate::request::parsed::{Delivery, ParsedRequest, assemble, assemble_unread, delivery};

/// A body of the embeddings API.
#[derive(Deserialize)]
struct EmbeddingsBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    lora_path: Option<&'a RawValue>,
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

/// Parses an embeddings request. Its input is text, texts, token ids, or parts such as images; instead of an input it can
/// have messages, which engines render like those of a chat.
pub(crate) fn parse_embeddings(
    bytes: &[u8],
    options: &ParseOptions<'_>,
) -> Result<ParsedRequest, ParseError> {
    let body: EmbeddingsBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let Some(input) = body.input.filter(|input| has_content(input) || has_text(input)) else {
        if body.messages.is_none() {
            return Err(ParseError::MissingEmbeddingsInput);
        }
        let chat = parse_chat(bytes, options)?;
        return Ok(ParsedRequest { delivery: Delivery::Whole, ..chat });
    };
    let model = Model::parse_optional(bytes, body.model, options)?;
    let fields = &scopes(body.cache_salt, body.extra_key, body.lora_path);
    let form = if is_parts(input) { Form::Text } else { form_of(input) };
    let mut prompt = Prompt::new(&Root { model: &model.name, form, fields }, options);
    if is_parts(input) {
        prompt.add_content(Some(input.get()), Author::Message);
        return Ok(assemble(model, prompt, None, Delivery::Whole));
    }
    match prompt.add_any(input) {
        Ok(()) => Ok(assemble(model, prompt, None, Delivery::Whole)),
        Err(_) if has_text(input) => Ok(assemble_unread(model, None, Delivery::Whole)),
        Err(_) => Err(ParseError::MissingEmbeddingsInput),
    }
}

/// Returns whether an input is a part, or an array of parts.
fn is_parts(input: &RawValue) -> bool {
    let json = input.get();
    json.strip_prefix('[').unwrap_or(json).trim_ascii_start().starts_with('{')
}

pub(crate) fn parse_image(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ImageBody<'_> = parse_object(bytes).map_err(ParseError::InvalidJson)?;
    let value = body.prompt.filter(|prompt| has_text(prompt)).ok_or(ParseError::MissingImagePrompt)?;
    let model = Model::parse_optional(bytes, body.model, options)?;
    if !value.get().starts_with('"') {
        return Ok(assemble_unread(model, None, delivery(body.stream)));
    }
    let fields = &[("cache_salt", json(body.cache_salt))];
    let mut prompt = Prompt::new(&Root { model: &model.name, form: Form::Text, fields }, options);
    prompt.add_escaped(raw_content(Some(value)));
    Ok(assemble(model, prompt, None, delivery(body.stream)))
}
