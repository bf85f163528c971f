//! A response as a JSON document.

use serde_json::{Value, json};

use crate::engine::Usage;

/// What is known of a response when it begins.
pub(super) struct ResponseDocument {
    pub(super) id: String,
    /// Unix time of the response.
    pub(super) created_seconds: u64,
    pub(super) model: String,
    pub(super) previous_response: Option<String>,
    /// Whether the client limited the output.
    pub(super) is_cut_off: bool,
    /// Whether the usage tells the cached tokens.
    pub(super) prompt_tokens_details: bool,
}

impl ResponseDocument {
    /// Returns the response before its first token.
    pub(super) fn in_progress(&self) -> Value {
        self.with("in_progress", &json!([]), &Value::Null)
    }

    /// Returns the response with its output and usage.
    pub(super) fn completed(&self, text: &str, usage: Usage) -> Value {
        let message = json!({
            "type": "message",
            "role": "assistant",
            "content": [{ "type": "output_text", "text": text }],
        });
        let cached_tokens = if self.prompt_tokens_details { usage.cached_tokens } else { 0 };
        let usage = json!({
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": { "cached_tokens": cached_tokens },
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
        });
        self.with(if self.is_cut_off { "incomplete" } else { "completed" }, &json!([message]), &usage)
    }

    fn with(&self, status: &str, output: &Value, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_seconds,
            "status": status,
            "model": self.model,
            "previous_response_id": self.previous_response,
            "output": output,
            "usage": usage,
        })
    }
}
