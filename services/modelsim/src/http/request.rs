//! Bodies of inference requests: what is asked, or why it cannot be.

use axum::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::config::PodConfig;
use crate::engine::AdapterId;
use crate::tokens::{Encoded, encode_text, encode_tokens};

/// Prompts in one request at most.
const MAX_PROMPTS: usize = 1_024;

/// A request to answer.
pub(super) struct Call {
    /// What was asked for: a model's name or an adapter's.
    pub(super) model: String,
    pub(super) adapter: Option<AdapterId>,
    /// One answer each.
    pub(super) prompts: Vec<Encoded>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) delivery: Delivery,
}

/// How the answer is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// One JSON document.
    Whole,
    /// Server-sent events.
    Events,
    /// Server-sent events, the last of which says what the request cost.
    EventsWithUsage,
}

#[derive(Deserialize)]
struct CompletionBody {
    prompt: Option<Prompts>,
    max_tokens: Option<u32>,
    #[serde(flatten)]
    shared: Shared,
}

#[derive(Deserialize)]
struct ChatBody {
    messages: Option<Vec<Message>>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(flatten)]
    shared: Shared,
}

#[derive(Deserialize)]
struct Shared {
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
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "content must be a string or an array of text parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
}

/// Reads a body of `/v1/completions`.
pub(super) fn completion(config: &PodConfig, body: &Bytes) -> Result<Call, ApiError> {
    let body: CompletionBody = parse(body)?;
    let (model, adapter) = body.shared.answerer(config)?;
    let prompt = body.prompt.ok_or_else(|| ApiError::bad_field("prompt", "prompt is missing"))?;
    let block_size_tokens = config.model.block_size_tokens;
    let text = |text: &String| encode_text(&model, text.as_bytes(), block_size_tokens);
    let tokens = |tokens: &Vec<u32>| encode_tokens(&model, tokens, block_size_tokens);
    let prompts: Vec<Encoded> = match &prompt {
        Prompts::Text(one) => vec![text(one)],
        Prompts::Texts(several) => several.iter().map(text).collect(),
        Prompts::Tokens(one) => vec![tokens(one)],
        Prompts::TokenArrays(several) => several.iter().map(tokens).collect(),
    };
    if !(1..=MAX_PROMPTS).contains(&prompts.len()) {
        return Err(ApiError::bad_field(
            "prompt",
            format!("between 1 and {MAX_PROMPTS} prompts are answered at once"),
        ));
    }
    let delivery = body.shared.delivery();
    Ok(Call { prompts, max_output_tokens: body.max_tokens, delivery, model, adapter })
}

/// Reads a body of `/v1/chat/completions`. The prompt is each message's role and text, one after the other.
pub(super) fn chat(config: &PodConfig, body: &Bytes) -> Result<Call, ApiError> {
    let body: ChatBody = parse(body)?;
    let (model, adapter) = body.shared.answerer(config)?;
    let messages = body.messages.ok_or_else(|| ApiError::bad_field("messages", "messages are missing"))?;
    let mut text = String::new();
    for message in &messages {
        text.push_str(&message.role);
        match &message.content {
            Some(Content::Text(content)) => text.push_str(content),
            Some(Content::Parts(parts)) => {
                parts.iter().for_each(|Part::Text { text: part }| text.push_str(part))
            }
            // An assistant's turn that only called tools.
            None => {}
        }
    }
    let prompts = vec![encode_text(&model, text.as_bytes(), config.model.block_size_tokens)];
    let max_output_tokens = body.max_completion_tokens.or(body.max_tokens);
    Ok(Call { prompts, max_output_tokens, delivery: body.shared.delivery(), model, adapter })
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the request body is invalid: {error}")))
}

impl Shared {
    /// The name that is asked for, and the adapter's number if it is one's.
    fn answerer(&self, config: &PodConfig) -> Result<(String, Option<AdapterId>), ApiError> {
        if self.n.unwrap_or(1) != 1 {
            return Err(ApiError::bad_field("n", "only n = 1 is simulated"));
        }
        let model = self.model.as_ref().ok_or_else(|| ApiError::bad_field("model", "model is missing"))?;
        let adapter = config.adapter(model);
        if adapter.is_none() && !config.models.contains(model) {
            return Err(ApiError::unknown_model(model));
        }
        Ok((model.clone(), adapter))
    }

    fn delivery(&self) -> Delivery {
        match (self.stream.unwrap_or(false), &self.stream_options) {
            (false, _) => Delivery::Whole,
            (true, Some(StreamOptions { include_usage: true })) => Delivery::EventsWithUsage,
            (true, _) => Delivery::Events,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::{Call, chat, completion};
    use crate::config::PodConfig;
    use crate::tokens::encode_text;

    fn completion_of(body: &'static str) -> Option<Call> {
        completion(&PodConfig::default(), &Bytes::from_static(body.as_bytes())).ok()
    }

    #[test]
    fn every_kind_of_prompt_is_read() {
        let count =
            |body| completion_of(body).map(|call| call.prompts.iter().map(|one| one.token_count).collect());
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":"12345"}"#), Some(vec![2]));
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":["12345","1"]}"#), Some(vec![2, 1]));
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":[1,2,3]}"#), Some(vec![3]));
        assert_eq!(count(r#"{"model":"llama3-8b","prompt":[[1,2,3],[4]]}"#), Some(vec![3, 1]));
        for refused in [
            r#"{"model":"llama3-8b"}"#,
            r#"{"prompt":"x"}"#,
            r#"{"model":"llama3-8b","prompt":{}}"#,
            r#"{"model":"llama3-8b","prompt":"x","n":2}"#,
            r#"{"model":"other","prompt":"x"}"#,
            r#"{"model":"llama3-8b","prompt":"x""#,
        ] {
            assert_eq!(count(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_chat_is_its_roles_and_texts() {
        let body = r#"{"model":"llama3-8b","max_completion_tokens":7,"messages":[{"role":"system","content":"Be brief."},
            {"role":"assistant","content":null,"tool_calls":[]},
            {"role":"user","content":[{"type":"text","text":"Hi "},{"type":"text","text":"there"}]}]}"#;
        let call = chat(&PodConfig::default(), &Bytes::from_static(body.as_bytes())).ok().unwrap();
        assert_eq!(call.prompts[0], encode_text("llama3-8b", b"systemBe brief.assistantuserHi there", 16));
        assert_eq!(call.max_output_tokens, Some(7));
    }
}
