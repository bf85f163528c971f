//! Bodies of vLLM's gRPC service. They name no model.

use crate::body::Model;
use crate::error::IntakeError;
use crate::media;
use crate::parse::{Delivery, Intake, Reading, assemble};
use crate::prompt::Prompt;
use crate::wire::{Fields, Packed, Value, low_half, only_message};

/// What a request to generate begins with.
enum Input<'a> {
    Tokenized(&'a [u8]),
    Text(&'a [u8]),
}

/// Reads a `GenerateRequest`. An input that stands there twice is refused, as no writer makes one; of all else the
/// last one counts, as everywhere in protobuf.
pub(crate) fn generate(body: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let (mut input, mut marks, mut max_tokens, mut stream) = (None, Vec::new(), None, 0);
    for field in Fields::new(only_message(body)?) {
        match field? {
            (2 | 3, Value::Bytes(_)) if input.is_some() => return Err(IntakeError::Grpc),
            (2, Value::Bytes(tokenized)) => input = Some(Input::Tokenized(tokenized)),
            (3, Value::Bytes(text)) => input = Some(Input::Text(text)),
            (4, Value::Bytes(sampling)) => max_tokens = max_tokens_of(sampling)?,
            (5, Value::Varint(value)) => stream = value,
            (7, Value::Bytes(media)) => marks = media::of_message(media)?,
            _ => {}
        }
    }
    let mut prompt = Prompt::new("", None, how.block_bytes);
    match input.ok_or(IntakeError::NoGrpcInput)? {
        Input::Tokenized(tokenized) => add_ids(&mut prompt, tokenized, &marks)?,
        Input::Text(text) => prompt.text(str::from_utf8(text).map_err(|_| IntakeError::Grpc)?),
    }
    if prompt.is_empty() {
        return Err(IntakeError::NoTokenized);
    }
    let delivery = if stream == 0 { Delivery::Whole } else { Delivery::Streamed };
    Ok(assemble(Model::default(), prompt, max_tokens, delivery))
}

/// Reads an `EmbedRequest`.
pub(crate) fn embed(body: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let mut tokenized = None;
    for field in Fields::new(only_message(body)?) {
        match field? {
            (2, Value::Bytes(_)) if tokenized.is_some() => return Err(IntakeError::Grpc),
            (2, Value::Bytes(message)) => tokenized = Some(message),
            _ => {}
        }
    }
    let mut prompt = Prompt::new("", None, how.block_bytes);
    add_ids(&mut prompt, tokenized.ok_or(IntakeError::NoTokenizedToEmbed)?, &[])?;
    if prompt.is_empty() {
        return Err(IntakeError::NoTokenizedToEmbed);
    }
    Ok(assemble(Model::default(), prompt, None, Delivery::Whole))
}

/// Adds the ids of a `TokenizedInput`, which may be packed or not.
fn add_ids(prompt: &mut Prompt, tokenized: &[u8], marks: &[media::Mark<'_>]) -> Result<(), IntakeError> {
    prompt.ids(IdsOf { fields: Fields::new(tokenized), packed: Packed::new(&[]) }, marks)
}

/// The ids of a `TokenizedInput`.
struct IdsOf<'a> {
    fields: Fields<'a>,
    packed: Packed<'a>,
}

impl Iterator for IdsOf<'_> {
    type Item = Result<u32, IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(id) = self.packed.next() {
                return Some(id);
            }
            match self.fields.next()? {
                Ok((2, Value::Bytes(packed))) => self.packed = Packed::new(packed),
                Ok((2, Value::Varint(id))) => return Some(Ok(low_half(id))),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn max_tokens_of(sampling: &[u8]) -> Result<Option<u64>, IntakeError> {
    let mut max_tokens = None;
    for field in Fields::new(sampling) {
        if let (8, Value::Varint(value)) = field? {
            max_tokens = Some(u64::from(low_half(value)));
        }
    }
    Ok(max_tokens)
}
