//! Bodies of the engines' own HTTP APIs: prompts of token ids.

use serde_json::value::RawValue;

use crate::body::{Model, SamplingParams, SglangBody, VllmBody, read_object, read_optional, token_count};
use crate::error::IntakeError;
use crate::ids::{Ids, NotAnId};
use crate::media::{self, Mark};
use crate::parse::{Intake, Reading, assemble, delivery};
use crate::prompt::Prompt;

/// vLLM. The model may be missing.
pub(crate) fn vllm(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: VllmBody<'_> = read_object(bytes).map_err(IntakeError::GenerateJson)?;
    let ids = body.token_ids.ok_or(IntakeError::NoTokenIds)?;
    let model = Model::optional(bytes, body.model, how)?;
    let mut prompt = Prompt::new(&model.name, body.cache_salt, how.block_bytes);
    add_ids(&mut prompt, ids, &media::of_features(body.features)).map_err(|_| IntakeError::BadTokenIds)?;
    if prompt.is_empty() {
        return Err(IntakeError::NoTokenIds);
    }
    let sampling: SamplingParams<'_> = read_optional(body.sampling_params);
    Ok(assemble(model, prompt, token_count(sampling.max_tokens), delivery(body.stream)))
}

/// SGLang. There is no model; what keeps prompts apart is called extra key.
pub(crate) fn sglang(bytes: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    let body: SglangBody<'_> = read_object(bytes).map_err(IntakeError::GenerateJson)?;
    let ids = body.input_ids.ok_or(IntakeError::NoInputIds)?;
    if body.extra_key.is_some_and(|key| !key.get().starts_with('"')) {
        return Err(IntakeError::BadExtraKey);
    }
    let mut prompt = Prompt::new("", body.extra_key, how.block_bytes);
    add_ids(&mut prompt, ids, &[]).map_err(|_| IntakeError::BadInputIds)?;
    if prompt.is_empty() {
        return Err(IntakeError::EmptyInputIds);
    }
    let sampling: SamplingParams<'_> = read_optional(body.sampling_params);
    Ok(assemble(Model::default(), prompt, token_count(sampling.max_new_tokens), delivery(body.stream)))
}

fn add_ids(prompt: &mut Prompt, array: &RawValue, marks: &[Mark<'_>]) -> Result<(), NotAnId> {
    prompt.ids(Ids::of_array(array.get())?, marks)
}
