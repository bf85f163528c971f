//! Parses the bodies of the engines' own HTTP APIs, whose prompts are token ids.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ParseError;
use crate::json::token_ids::{InvalidTokenId, TokenIds};
use crate::json::{deserialize_present, parse_object, parse_object_or_default, parse_token_count};
use crate::options::ParseOptions;
use crate::prompt::Prompt;
use crate::prompt::placeholders::{self, MediaItem};
use crate::prompt::root::{Form, Root};
use crate::request::model::Model;
use crate::request::openai::json;
use crate::request::parsed::{ParsedRequest, assemble, delivery};

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

/// A body of SGLang's generate API.
#[derive(Deserialize)]
struct SglangBody<'a> {
    #[serde(borrow)]
    input_ids: Option<&'a RawValue>,
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
    stream: Option<&'a RawValue>,
}

/// The limits of generated tokens, as vLLM and SGLang name them.
#[derive(Default, Deserialize)]
struct SamplingParams<'a> {
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_new_tokens: Option<&'a RawValue>,
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

/// Parses a request to SGLang. It names no model; its cache salt is called `extra_key`. Where its media are
/// among the ids is not known, so they separate prompts from the start.
pub(crate) fn parse_sglang(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: SglangBody<'_> = parse_object(bytes).map_err(ParseError::InvalidGenerateJson)?;
    let ids = body.input_ids.ok_or(ParseError::MissingInputIds)?;
    if body.extra_key.is_some_and(|key| !key.get().starts_with('"')) {
        return Err(ParseError::InvalidExtraKey);
    }
    let fields = &[
        ("extra_key", json(body.extra_key)),
        ("lora_path", json(body.lora_path)),
        ("image_data", json(body.image_data)),
        ("video_data", json(body.video_data)),
        ("audio_data", json(body.audio_data)),
    ];
    let mut prompt = Prompt::new(&Root { model: "", form: Form::TokenIds, fields }, options);
    add_ids(&mut prompt, ids, &[]).map_err(|_| ParseError::InvalidInputIds)?;
    if prompt.is_empty() {
        return Err(ParseError::EmptyInputIds);
    }
    let sampling: SamplingParams<'_> = parse_object_or_default(body.sampling_params);
    Ok(assemble(Model::default(), prompt, parse_token_count(sampling.max_new_tokens), delivery(body.stream)))
}

fn add_ids(
    prompt: &mut Prompt,
    array: &RawValue,
    media_items: &[MediaItem<'_>],
) -> Result<(), InvalidTokenId> {
    prompt.add_ids(TokenIds::from_array(array.get())?, media_items)
}
