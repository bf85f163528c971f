//! Finds the API of a body by its shape, for requests whose path is unknown.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::error::ParseError;
use crate::json::parse_object;

/// The members that tell APIs apart. Values that are `null` count as absent.
#[derive(Deserialize)]
struct Shape<'a> {
    /// Of chats, in OpenAI's and in Anthropic's API.
    messages: Option<IgnoredAny>,
    /// Of Anthropic's API only.
    system: Option<IgnoredAny>,
    stop_sequences: Option<IgnoredAny>,
    thinking: Option<IgnoredAny>,
    anthropic_version: Option<IgnoredAny>,
    /// Of OpenAI's responses and embeddings.
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// Of embeddings only.
    encoding_format: Option<IgnoredAny>,
    dimensions: Option<IgnoredAny>,
    /// Of OpenAI's completions and images.
    prompt: Option<IgnoredAny>,
    prompt_embeds: Option<IgnoredAny>,
    /// Of images only.
    size: Option<IgnoredAny>,
    quality: Option<IgnoredAny>,
    style: Option<IgnoredAny>,
    output_format: Option<IgnoredAny>,
    /// Of OpenAI's conversations.
    items: Option<IgnoredAny>,
    /// Of vLLM's own API.
    token_ids: Option<IgnoredAny>,
    /// Of the APIs of SGLang and TGI.
    input_ids: Option<IgnoredAny>,
    text: Option<IgnoredAny>,
    inputs: Option<IgnoredAny>,
}

/// Returns the API of a body: [`Api::Opaque`] if it is no JSON object or has the shape of no known API.
///
/// # Errors
/// The body starts like a JSON object and is none, or repeats a key that tells APIs apart.
pub(super) fn api_of(body: &[u8]) -> Result<Api, ParseError> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Ok(Api::Opaque);
    }
    parse_object::<Shape<'_>>(body).map(|shape| shape.api()).map_err(ParseError::InvalidJson)
}

impl Shape<'_> {
    fn api(&self) -> Api {
        if self.messages.is_some() {
            return if self.is_anthropic() { Api::Messages } else { Api::Chat };
        }
        if let Some(input) = self.input {
            return if self.is_embedding(input.get()) { Api::Embeddings } else { Api::Responses };
        }
        if self.prompt.is_some() || self.prompt_embeds.is_some() {
            return if self.is_image() { Api::Images } else { Api::Completions };
        }
        let others = [
            (self.token_ids.is_some(), Api::VllmGenerate),
            (self.input_ids.is_some(), Api::Generate),
            (self.text.is_some(), Api::Generate),
            (self.inputs.is_some(), Api::Generate),
            (self.items.is_some(), Api::Conversations),
        ];
        others.into_iter().find(|(is_present, _)| *is_present).map_or(Api::Opaque, |(_, api)| api)
    }

    fn is_anthropic(&self) -> bool {
        [self.system, self.stop_sequences, self.thinking, self.anthropic_version].iter().any(Option::is_some)
    }

    /// Returns whether `input` is that of an embedding. Text alone may be either; a response costs more.
    fn is_embedding(&self, input: &str) -> bool {
        let first = input.strip_prefix('[').map(|items| items.trim_ascii_start().as_bytes().first().copied());
        let has_no_items = matches!(first, Some(Some(b'"' | b'[' | b'0'..=b'9')));
        has_no_items || self.encoding_format.is_some() || self.dimensions.is_some()
    }

    fn is_image(&self) -> bool {
        [self.size, self.quality, self.style, self.output_format].iter().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_tell_the_api() {
        for (body, api) in [
            (r#"{"messages":[{"role":"user","content":"a"}]}"#, Api::Chat),
            (r#" {"messages":[],"system":null}"#, Api::Chat),
            (r#"{"messages":[],"system":"s","max_tokens":5}"#, Api::Messages),
            (r#"{"stop_sequences":["a"],"messages":[]}"#, Api::Messages),
            (r#"{"prompt":"a"}"#, Api::Completions),
            (r#"{"prompt_embeds":"a"}"#, Api::Completions),
            (r#"{"prompt":"a","size":"1024x1024"}"#, Api::Images),
            (r#"{"input":"a"}"#, Api::Responses),
            (r#"{"input":[{"role":"user"}]}"#, Api::Responses),
            (r#"{"input":"a","encoding_format":"base64"}"#, Api::Embeddings),
            (r#"{"input":["a"]}"#, Api::Embeddings),
            (r#"{"input":[ 1,2]}"#, Api::Embeddings),
            (r#"{"input":[[1,2]]}"#, Api::Embeddings),
            (r#"{"items":[]}"#, Api::Conversations),
            (r#"{"token_ids":[1],"sampling_params":{}}"#, Api::VllmGenerate),
            (r#"{"input_ids":[1],"sampling_params":{}}"#, Api::Generate),
            (r#"{"text":"a"}"#, Api::Generate),
            (r#"{"inputs":"a"}"#, Api::Generate),
            (r#"{"query":"a","documents":["b"]}"#, Api::Opaque),
            ("{}", Api::Opaque),
            ("--boundary", Api::Opaque),
            ("[1]", Api::Opaque),
            ("", Api::Opaque),
        ] {
            assert_eq!(Some(api), api_of(body.as_bytes()).ok(), "{body}");
        }
    }

    #[test]
    fn object_that_cannot_be_read_is_an_error() {
        for body in ["{", r#"{"prompt":"a","prompt":"b"}"#, r#"{"messages":[}"#] {
            assert!(api_of(body.as_bytes()).is_err(), "{body}");
        }
    }
}
