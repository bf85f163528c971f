//! Parses the bodies of inference requests.

use axum::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::config::PodConfig;
use crate::engine::AdapterId;
use crate::tokenizer::{ChatMessage, EncodedPrompt, encode_chat, encode_text, encode_tokens};

/// Maximum number of prompts in one request.
const MAX_PROMPTS: usize = 1_024;

/// An inference request.
pub(super) struct InferenceRequest {
    /// The requested name: a model's or an adapter's.
    pub(super) model: String,
    pub(super) adapter: Option<AdapterId>,
    /// The prompts; each gets an output of its own.
    pub(super) prompts: Vec<EncodedPrompt>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) mode: ResponseMode,
}

/// How the response is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseMode {
    /// One JSON document.
    Document,
    /// Server-sent events.
    Events,
    /// Server-sent events, the last of which carries the usage.
    EventsWithUsage,
}

#[derive(Deserialize)]
struct CompletionBody {
    prompt: Option<Prompts>,
    max_tokens: Option<u32>,
    #[serde(flatten)]
    common: CommonFields,
}

#[derive(Deserialize)]
struct ChatBody {
    messages: Option<Vec<Message>>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(flatten)]
    common: CommonFields,
}

#[derive(Deserialize)]
struct CommonFields {
    model: Option<String>,
    n: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "prompt must be a string, an array of strings, or one or several arrays of token ids"
)]
enum Prompts {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenArrays(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content<Part>>,
}

/// The content of a message.
#[derive(Deserialize)]
#[serde(untagged, expecting = "content must be a string or an array of text parts")]
pub(super) enum Content<P> {
    Text(String),
    Parts(Vec<P>),
}

impl<P> Content<P> {
    /// Returns the text, of which `of_part` returns that of a part.
    pub(super) fn into_text(self, of_part: impl Fn(P) -> String) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(of_part).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
}

/// Parses a body of `/v1/completions`.
pub(super) fn parse_completion(config: &PodConfig, body: &Bytes) -> Result<InferenceRequest, ApiError> {
    let body: CompletionBody = parse_json(body)?;
    let (model, adapter) = body.common.resolve_model(config)?;
    let prompt = body.prompt.ok_or_else(|| ApiError::invalid_field("prompt", "prompt is missing"))?;
    let block_size_tokens = config.model.block_size_tokens;
    let text = |text: &String| encode_text(&config.tokenizer, &model, text.as_bytes(), block_size_tokens);
    let tokens = |tokens: &Vec<u32>| encode_tokens(&model, tokens, block_size_tokens);
    let prompts: Vec<EncodedPrompt> = match &prompt {
        Prompts::Text(one) => vec![text(one)],
        Prompts::Texts(several) => several.iter().map(text).collect(),
        Prompts::Tokens(one) => vec![tokens(one)],
        Prompts::TokenArrays(several) => several.iter().map(tokens).collect(),
    };
    if !(1..=MAX_PROMPTS).contains(&prompts.len()) {
        return Err(ApiError::invalid_field(
            "prompt",
            format!("the request must have between 1 and {MAX_PROMPTS} prompts"),
        ));
    }
    let mode = body.common.response_mode();
    Ok(InferenceRequest { prompts, max_output_tokens: body.max_tokens, mode, model, adapter })
}

/// Parses a body of `/v1/chat/completions`.
pub(super) fn parse_chat(config: &PodConfig, body: &Bytes) -> Result<InferenceRequest, ApiError> {
    let body: ChatBody = parse_json(body)?;
    let (model, adapter) = body.common.resolve_model(config)?;
    let messages =
        body.messages.ok_or_else(|| ApiError::invalid_field("messages", "messages are missing"))?;
    let messages: Vec<ChatMessage> = messages.into_iter().map(ChatMessage::from).collect();
    let prompt = encode_chat(&config.tokenizer, &model, &messages, config.model.block_size_tokens);
    let max_output_tokens = body.max_completion_tokens.or(body.max_tokens);
    let mode = body.common.response_mode();
    Ok(InferenceRequest { prompts: vec![prompt], max_output_tokens, mode, model, adapter })
}

impl From<Message> for ChatMessage {
    fn from(message: Message) -> Self {
        // An assistant message that only calls tools has no content.
        let text = message.content.map(|content| content.into_text(|Part::Text { text }| text));
        Self { role: message.role, text: text.unwrap_or_default() }
    }
}

pub(super) fn parse_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the request body is invalid: {error}")))
}

/// Returns the requested name, or the first model's if there is none, and the adapter's number if the name is an adapter's.
pub(super) fn resolve_model(
    config: &PodConfig,
    requested: Option<&str>,
) -> Result<(String, Option<AdapterId>), ApiError> {
    let model = requested.filter(|model| !model.is_empty()).unwrap_or(&config.models[0]);
    let adapter = config.adapter(model);
    if adapter.is_none() && !config.models.iter().any(|known| known == model) {
        return Err(ApiError::unknown_model(model));
    }
    Ok((model.to_owned(), adapter))
}

impl CommonFields {
    /// Returns the requested name, and the adapter's number if the name is an adapter's.
    fn resolve_model(&self, config: &PodConfig) -> Result<(String, Option<AdapterId>), ApiError> {
        if self.n.unwrap_or(1) != 1 {
            return Err(ApiError::invalid_field("n", "only n = 1 is supported"));
        }
        resolve_model(config, self.model.as_deref())
    }

    fn response_mode(&self) -> ResponseMode {
        match (self.stream.unwrap_or(false), &self.stream_options) {
            (false, _) => ResponseMode::Document,
            (true, Some(StreamOptions { include_usage: true })) => ResponseMode::EventsWithUsage,
            (true, _) => ResponseMode::Events,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::{InferenceRequest, parse_chat, parse_completion};
    use crate::config::PodConfig;
    use crate::tokenizer::{TokenizerConfig, encode_text};

    fn completion(body: &'static str) -> Option<InferenceRequest> {
        parse_completion(&PodConfig::default(), &Bytes::from_static(body.as_bytes())).ok()
    }

    #[test]
    fn every_kind_of_prompt_is_parsed() {
        let count = |body| {
            completion(body).map(|request| request.prompts.iter().map(|one| one.token_count).collect())
        };
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":"12345"}"#), Some(vec![2]));
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":["12345","1"]}"#), Some(vec![2, 1]));
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":[1,2,3]}"#), Some(vec![3]));
        assert_eq!(
            count(r#"{"prompt":[1,2]}"#),
            Some(vec![2]),
            "as in vLLM, a request need not name the model"
        );
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":[[1,2,3],[4]]}"#), Some(vec![3, 1]));
        for invalid in [
            r#"{"model":"llama3-8b"}"#,
            r#"{"model":"llama3-8b","prompt":{}}"#,
            r#"{"model":"llama3-8b","prompt":"x","n":2}"#,
            r#"{"model":"other","prompt":"x"}"#,
            r#"{"model":"llama3-8b","prompt":"x""#,
        ] {
            assert_eq!(count(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn chat_prompt_concatenates_roles_and_texts() {
        let body = r#"{"model":"llama3-8b","max_completion_tokens":7,"messages":[{"role":"system","content":"Be brief."},
            {"role":"assistant","content":null,"tool_calls":[]},
            {"role":"user","content":[{"type":"text","text":"Hi "},{"type":"text","text":"there"}]}]}"#;
        let request = parse_chat(&PodConfig::default(), &Bytes::from_static(body.as_bytes())).ok().unwrap();
        let text = b"systemBe brief.assistantuserHi there";
        let expected = encode_text(&TokenizerConfig::default(), "llama3-8b", text, 16);
        assert_eq!(request.prompts[0], expected);
        assert_eq!(request.max_output_tokens, Some(7));
    }
}
