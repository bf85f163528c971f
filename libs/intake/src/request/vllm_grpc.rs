//! Parses the bodies of vLLM's gRPC service, which name no model.

use crate::error::ParseError;
use crate::options::ParseOptions;
use crate::prompt::root::{Form, Root};
use crate::prompt::{Prompt, placeholders};
use crate::protobuf::fields::{Fields, PackedInts, Value, truncate_to_u32};
use crate::protobuf::grpc_frame::single_message;
use crate::request::model::Model;
use crate::request::parsed::{Delivery, ParsedRequest, Unread, assemble, assemble_unread};

/// The prompt of a generation request.
enum Input<'a> {
    Tokenized(&'a [u8]),
    Text(&'a [u8]),
}

/// Parses a `GenerateRequest`. A repeated input is rejected because no writer produces one; of any other
/// repeated field the last value counts, as usual in protobuf. An input of a kind that was added since is not read.
pub(crate) fn parse_generate(body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let (mut input, mut media_items, mut max_tokens, mut stream) = (None, Vec::new(), None, 0);
    let Some(message) = single_message(body)? else { return Ok(Unread::Encoding.into()) };
    for field in Fields::new(message) {
        match field? {
            (2 | 3, Value::Bytes(_)) if input.is_some() => return Err(ParseError::InvalidGrpcPayload),
            (2, Value::Bytes(tokenized_input)) => input = Some(Input::Tokenized(tokenized_input)),
            (3, Value::Bytes(text)) => input = Some(Input::Text(text)),
            (4, Value::Bytes(sampling)) => max_tokens = parse_max_tokens(sampling)?,
            (5, Value::Varint(value)) => stream = value,
            (7, Value::Bytes(message)) => media_items = placeholders::from_message(message)?,
            _ => {}
        }
    }
    let delivery = if stream == 0 { Delivery::Whole } else { Delivery::Streamed };
    let Some(input) = input else { return Ok(assemble_unread(Model::default(), max_tokens, delivery)) };
    let form = if matches!(input, Input::Text(_)) { Form::Text } else { Form::TokenIds };
    let mut prompt = Prompt::new(&Root { model: "", form, fields: &[] }, options);
    match input {
        Input::Tokenized(tokenized_input) => add_ids(&mut prompt, tokenized_input, &media_items)?,
        Input::Text(text) => {
            prompt.add_text(str::from_utf8(text).map_err(|_| ParseError::InvalidGrpcPayload)?)
        }
    }
    if prompt.is_empty() {
        return Err(ParseError::MissingTokenizedInput);
    }
    Ok(assemble(Model::default(), prompt, max_tokens, delivery))
}

/// Parses an `EmbedRequest`.
pub(crate) fn parse_embed(body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let mut tokenized_input = None;
    let Some(message) = single_message(body)? else { return Ok(Unread::Encoding.into()) };
    for field in Fields::new(message) {
        match field? {
            (2, Value::Bytes(_)) if tokenized_input.is_some() => return Err(ParseError::InvalidGrpcPayload),
            (2, Value::Bytes(message)) => tokenized_input = Some(message),
            _ => {}
        }
    }
    let mut prompt = Prompt::new(&Root { model: "", form: Form::TokenIds, fields: &[] }, options);
    add_ids(&mut prompt, tokenized_input.ok_or(ParseError::MissingEmbedInput)?, &[])?;
    if prompt.is_empty() {
        return Err(ParseError::MissingEmbedInput);
    }
    Ok(assemble(Model::default(), prompt, None, Delivery::Whole))
}

/// Adds the ids of a `TokenizedInput`, packed or not.
fn add_ids(
    prompt: &mut Prompt,
    tokenized_input: &[u8],
    media_items: &[placeholders::MediaItem<'_>],
) -> Result<(), ParseError> {
    prompt.add_ids(
        TokenizedInputIds { fields: Fields::new(tokenized_input), packed: PackedInts::new(&[]) },
        media_items,
    )
}

/// Iterates over the ids of a `TokenizedInput`.
struct TokenizedInputIds<'a> {
    fields: Fields<'a>,
    packed: PackedInts<'a>,
}

impl Iterator for TokenizedInputIds<'_> {
    type Item = Result<u32, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(id) = self.packed.next() {
                return Some(id);
            }
            match self.fields.next()? {
                Ok((2, Value::Bytes(packed))) => self.packed = PackedInts::new(packed),
                Ok((2, Value::Varint(id))) => return Some(Ok(truncate_to_u32(id))),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn parse_max_tokens(sampling: &[u8]) -> Result<Option<u64>, ParseError> {
    let mut max_tokens = None;
    for field in Fields::new(sampling) {
        if let (8, Value::Varint(value)) = field? {
            max_tokens = Some(u64::from(truncate_to_u32(value)));
        }
    }
    Ok(max_tokens)
}
