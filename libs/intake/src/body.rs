//! The parts of a body that are read, borrowed from it as they stand.
//!
//! A key that is read and stands in a body twice is an error: a model server would take one of the two, and
//! nobody can say which.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::depth::refuse_deep;
use crate::error::{IntakeError, Malformed};
use crate::parse::Reading;

/// The longest name of a model, in bytes. Names are kept: in metrics, in recordings of decisions.
pub(crate) const MODEL_BYTES: usize = 1_024;

/// A body of the completions API.
#[derive(Deserialize)]
pub(crate) struct CompletionBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of the chat completions API; `M` is what its messages are read as.
#[derive(Deserialize)]
#[serde(bound(deserialize = "M: Deserialize<'de>"))]
pub(crate) struct ChatBody<'a, M> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    pub(crate) messages: Option<M>,
    #[serde(borrow)]
    pub(crate) chat_template: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) chat_template_kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) documents: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of the responses API.
#[derive(Deserialize)]
pub(crate) struct ResponsesBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of the embeddings API.
#[derive(Deserialize)]
pub(crate) struct EmbeddingsBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of the conversations API.
#[derive(Deserialize)]
pub(crate) struct ConversationBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) items: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of the images API.
#[derive(Deserialize)]
pub(crate) struct ImageBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of Anthropic's API; `M` is what its messages are read as.
#[derive(Deserialize)]
#[serde(bound(deserialize = "M: Deserialize<'de>"))]
pub(crate) struct MessagesBody<'a, M> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    pub(crate) messages: Option<M>,
    #[serde(borrow)]
    pub(crate) system: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of vLLM's own API.
#[derive(Deserialize)]
pub(crate) struct VllmBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) token_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) features: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) sampling_params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) cache_salt: Option<&'a RawValue>,
}

/// A body of SGLang's own API.
#[derive(Deserialize)]
pub(crate) struct SglangBody<'a> {
    #[serde(borrow)]
    pub(crate) input_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) extra_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) sampling_params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
}

/// How much is to be generated, as vLLM and SGLang are told.
#[derive(Default, Deserialize)]
pub(crate) struct SamplingParams<'a> {
    #[serde(borrow)]
    pub(crate) max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_new_tokens: Option<&'a RawValue>,
}

/// Reads a body that is to be an object.
///
/// # Errors
/// [`Malformed`] where it is not, is nested too deeply, or a key that is read stands there twice.
pub(crate) fn read_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    refuse_deep(body)?;
    // What is no JSON either passes here if it looks like an object: reading it tells more.
    if !body.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice::<IgnoredAny>(body)?;
        return Err(Malformed::NoObject);
    }
    Ok(serde_json::from_slice(body)?)
}

/// A value that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// What a value says that need not be there: nothing unless it is an object that can be read.
pub(crate) fn read_optional<'a, T: Default + Deserialize<'a>>(value: Option<&'a RawValue>) -> T {
    let object = value.map(RawValue::get).filter(|text| text.starts_with('{'));
    object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The name of a model, and where it stands.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Of the one that serves.
    pub(crate) name: String,
    /// What the body calls it, if that is something else.
    pub(crate) asked: Option<String>,
    /// Where in the body its JSON value is.
    pub(crate) span: Option<Range<usize>>,
}

impl Model {
    /// The model that `value`, which is a part of `body`, names.
    ///
    /// # Errors
    /// [`IntakeError::NoModel`] where it is missing, null, empty, or no string, [`IntakeError::LongModel`] where it is too long.
    pub(crate) fn required(
        body: &[u8],
        value: Option<&RawValue>,
        how: &Reading<'_>,
    ) -> Result<Self, IntakeError> {
        let model = Self::optional(body, value, how)?;
        if model.name.is_empty() { Err(IntakeError::NoModel) } else { Ok(model) }
    }

    /// As [`Self::required`], but the name may be missing or empty.
    ///
    /// # Errors
    /// [`IntakeError::NoModel`] where it is no string, [`IntakeError::LongModel`] where it is too long.
    pub(crate) fn optional(
        body: &[u8],
        value: Option<&RawValue>,
        how: &Reading<'_>,
    ) -> Result<Self, IntakeError> {
        let Some(text) = value.map(RawValue::get) else {
            let inside = body.iter().position(|byte| *byte == b'{').map(|at| at + 1..at + 1);
            return Ok(Self::unnamed(inside, how));
        };
        let start = text.as_ptr().addr() - body.as_ptr().addr();
        let span = Some(start..start + text.len());
        if text == "null" {
            return Ok(Self::unnamed(span, how));
        }
        let said: String = serde_json::from_str(text).map_err(|_| IntakeError::NoModel)?;
        if said.len() > MODEL_BYTES {
            return Err(IntakeError::LongModel);
        }
        Ok(match (how.target)(&said).filter(|target| *target != said) {
            Some(name) => Self { name, asked: Some(said), span },
            None => Self { name: said, asked: None, span },
        })
    }

    /// A body that names none goes to a model all the same where there is one for every request. Its name goes to `span`.
    fn unnamed(span: Option<Range<usize>>, how: &Reading<'_>) -> Self {
        match (how.target)("") {
            Some(name) => Self { name, asked: Some(String::new()), span },
            None => Self::default(),
        }
    }
}

/// What a value says, in the bytes of the body: of a string what stands between the quotes, escapes and all;
/// of anything else the whole value; of no value nothing.
pub(crate) fn raw_content(value: Option<&RawValue>) -> &str {
    let text = value.map_or("", RawValue::get);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The value as a number of tokens; anything but a non-negative integer counts as not given.
pub(crate) fn token_count(value: Option<&RawValue>) -> Option<u64> {
    value?.get().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied() {
        let body = br#" {"model":"m", "prompt" : [1, 2] ,"stream":true,"n":{"prompt":1}}"#;
        let parsed: CompletionBody<'_> = read_object(body).unwrap();
        let prompt = raw_content(parsed.prompt);
        assert_eq!(prompt, "[1, 2]");
        assert!(body.as_ptr_range().contains(&prompt.as_ptr()));
    }

    #[test]
    fn raw_content_is_what_stands_in_the_body() {
        for (json, content) in
            [(r#""a\n\"b\"""#, r#"a\n\"b\""#), (r#""""#, ""), (r#"[ "a" ]"#, r#"[ "a" ]"#), ("7", "7")]
        {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(raw_content(Some(value)), content);
        }
        assert_eq!(raw_content(None), "");
    }

    #[test]
    fn only_non_negative_integers_are_token_counts() {
        for (json, count) in [
            ("0", Some(0)),
            ("16", Some(16)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("\"16\"", None),
            ("[16]", None),
            ("true", None),
        ] {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(token_count(Some(value)), count, "{json}");
        }
        assert_eq!(token_count(None), None);
    }

    #[test]
    fn the_place_of_a_model_is_that_of_its_value() {
        let body = br#"{ "model" :  "a\"b" , "x":1}"#;
        let parsed: CompletionBody<'_> = read_object(body).unwrap();
        let model = Model::required(body, parsed.model, &Reading::plain(8)).unwrap();
        assert_eq!(model.name, "a\"b");
        assert_eq!(&body[model.span.unwrap()], br#""a\"b""#);
    }
}
