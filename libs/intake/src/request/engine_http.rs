//! Parses the bodies of the engines' own HTTP APIs, whose prompts are token ids or text.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ParseError;
use crate::json::token_ids::{InvalidTokenId, TokenIds};
use crate::json::{deserialize_present, parse_object, parse_object_or_default, parse_token_count};
use crate::options::ParseOptions;
use crate::prompt::placeholders::{self, MediaItem};
use crate::prompt::root::{Form, Root};
use crate::prompt::{Prompt, form_of};
use crate::request::model::Model;
use crate::request::openai::{has_content, has_text, json};
use crate::request::parsed::{ParsedRequest, assemble, assemble_unread, delivery};

/// A body of vLLM's generate API.
#[derive(Deserialize)]
struct VllmBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    token_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    features: Option<&'a RawValue>,
    #[serde(borrow)]
    sampling_params: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_salt: Option<&'a RawValue>,
}

/// A body of the generate API of SGLang (`text`, `input_ids`), of TGI (`inputs`) or of vLLM's example server (`prompt`).
#[derive(Deserialize)]
struct GenerateBody<'a> {
    #[serde(borrow)]
    input_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    input_embeds: Option<&'a RawValue>,
    #[serde(borrow)]
    image_data: Option<&'a RawValue>,
    #[serde(borrow)]
    video_data: Option<&'a RawValue>,
    #[serde(borrow)]
    audio_data: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    lora_path: Option<&'a RawValue>,
    #[serde(borrow)]
    sampling_params: Option<&'a RawValue>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
}

/// The limits of generated tokens, as vLLM, SGLang and TGI name them, and TGI's adapter.
#[derive(Default, Deserialize)]
struct SamplingParams<'a> {
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_new_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    adapter_id: Option<&'a RawValue>,
}

/// Parses a request to vLLM. The model may be missing.
pub(crate) fn parse_vllm(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: VllmBody<'_> = parse_object(bytes).map_err(ParseError::InvalidGenerateJson)?;
    let ids = body.token_ids.ok_or(ParseError::MissingTokenIds)?;
    let model = Model::parse_optional(bytes, body.model, options)?;
    let fields = &[("cache_salt", json(body.cache_salt))];
    let mut prompt = Prompt::new(&Root { model: &model.name, form: Form::TokenIds, fields }, options);
    add_ids(&mut prompt, ids, &placeholders::from_features(body.features))
        .map_err(|_| ParseError::InvalidTokenIds)?;
    if prompt.is_empty() {
        return Err(ParseError::MissingTokenIds);
    }
    let sampling: SamplingParams<'_> = parse_object_or_default(body.sampling_params);
    Ok(assemble(model, prompt, parse_token_count(sampling.max_tokens), delivery(body.stream)))
}

/// Parses a request to a generate API. It names no model; SGLang's cache salt is called `extra_key`. Where media are
/// among the ids or in the text is not known, so they separate prompts from the start.
pub(crate) fn parse_generate(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: GenerateBody<'_> = parse_object(bytes).map_err(ParseError::InvalidGenerateJson)?;
    let sampling: SamplingParams<'_> = parse_object_or_default(body.sampling_params.or(body.parameters));
    let max_tokens =
        parse_token_count(sampling.max_new_tokens).or_else(|| parse_token_count(body.max_tokens));
    let delivery = delivery(body.stream);
    let unread = || Ok(assemble_unread(Model::default(), max_tokens, delivery));
    let texts = [body.text, body.inputs, body.prompt].into_iter().flatten();
    let text = texts.into_iter().find(|text| has_content(text) || has_text(text));
    let Some(value) = body.input_ids.or(text) else {
        let others = [body.input_embeds, body.image_data, body.video_data, body.audio_data];
        let has_other = others.into_iter().flatten().any(|other| has_content(other) || has_text(other));
        return if has_other { unread() } else { Err(ParseError::MissingGeneratePrompt) };
    };
    if body.input_ids.is_some() && form_of(value) == Form::Text {
        return Err(ParseError::InvalidInputIds);
    }
    let fields = &[
        ("extra_key", json(body.extra_key)),
        ("lora_path", json(body.lora_path)),
        ("adapter_id", json(sampling.adapter_id)),
        ("image_data", json(body.image_data)),
        ("video_data", json(body.video_data)),
        ("audio_data", json(body.audio_data)),
    ];
    let mut prompt = Prompt::new(&Root { model: "", form: form_of(value), fields }, options);
    match prompt.add_any(value) {
        Ok(()) => Ok(assemble(Model::default(), prompt, max_tokens, delivery)),
        Err(_) if body.input_ids.is_none() && has_text(value) => unread(),
        Err(_) if body.input_ids.is_none() => Err(ParseError::MissingGeneratePrompt),
        Err(_) if has_content(value) => Err(ParseError::InvalidInputIds),
        Err(_) => Err(ParseError::EmptyInputIds),
    }
}

fn add_ids(
    prompt: &mut Prompt,
    array: &RawValue,
    media_items: &[MediaItem<'_>],
) -> Result<(), InvalidTokenId> {
    prompt.add_ids(TokenIds::from_array(array.get())?, media_items)
}
