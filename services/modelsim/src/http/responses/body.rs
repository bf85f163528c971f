//! Parses the bodies of requests to `/v1/responses`.

use axum::body::Bytes;
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::request::{Content, parse_json, resolve_model};
use crate::config::PodConfig;
use crate::engine::AdapterId;
use crate::tokenizer::ChatMessage;

/// A request for a response.
pub(super) struct ResponsesRequest {
    /// The requested name: a model's or an adapter's.
    pub(super) model: String,
    pub(super) adapter: Option<AdapterId>,
    /// What the request adds to the conversation.
    pub(super) messages: Vec<ChatMessage>,
    pub(super) previous_response: Option<String>,
    /// Whether the response can be named later.
    pub(super) is_stored: bool,
    pub(super) is_streamed: bool,
    pub(super) max_output_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct ResponsesBody {
    model: Option<String>,
    input: Option<Input>,
    instructions: Option<String>,
    previous_response_id: Option<String>,
    store: Option<bool>,
    stream: Option<bool>,
    max_output_tokens: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "input must be a string or an array of messages")]
enum Input {
    Text(String),
    Messages(Vec<InputMessage>),
}

#[derive(Deserialize)]
struct InputMessage {
    role: String,
    content: Content<Part>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    InputText { text: String },
    OutputText { text: String },
}

impl ResponsesRequest {
    pub(super) fn parse(config: &PodConfig, body: &Bytes) -> Result<Self, ApiError> {
        let body: ResponsesBody = parse_json(body)?;
        let (model, adapter) = resolve_model(config, body.model.as_deref())?;
        let input = body.input.ok_or_else(|| ApiError::invalid_field("input", "input is missing"))?;
        let instructions = body.instructions.map(|text| message("system", text));
        let input = match input {
            Input::Text(text) => vec![message("user", text)],
            Input::Messages(messages) => messages.into_iter().map(ChatMessage::from).collect(),
        };
        Ok(Self {
            model,
            adapter,
            messages: instructions.into_iter().chain(input).collect(),
            previous_response: body.previous_response_id,
            is_stored: body.store.unwrap_or(true),
            is_streamed: body.stream.unwrap_or(false),
            max_output_tokens: body.max_output_tokens,
        })
    }
}

impl From<InputMessage> for ChatMessage {
    fn from(InputMessage { role, content }: InputMessage) -> Self {
        let text = content.into_text(|(Part::InputText { text } | Part::OutputText { text })| text);
        Self { role, text }
    }
}

fn message(role: &str, text: String) -> ChatMessage {
    ChatMessage { role: role.to_owned(), text }
}
