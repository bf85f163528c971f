//! Encodes responses in the format of OpenAI's API.

use axum::body::Bytes;
use serde::Serialize;

use crate::engine::Usage;

/// The API that a request uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Completion,
    Chat,
}

/// Why the output of a prompt ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinishReason {
    /// The requested number of tokens was produced.
    Length,
    /// The model ended its output.
    Stop,
}

/// The usage of all prompts of a request together.
#[derive(Clone, Copy, Default)]
pub(super) struct TotalUsage {
    prompt_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
}

impl TotalUsage {
    pub(super) fn add(&mut self, usage: Usage) {
        self.prompt_tokens += u64::from(usage.prompt_tokens);
        self.cached_tokens += u64::from(usage.cached_tokens);
        self.output_tokens += u64::from(usage.output_tokens);
    }
}

/// A part of one prompt's output, or all of it.
pub(super) struct TextChunk {
    /// Index of the prompt.
    pub(super) index: usize,
    pub(super) text: String,
    pub(super) finish_reason: Option<FinishReason>,
}

/// Encodes one response, whole or event by event.
pub(super) struct ResponseEncoder {
    pub(super) api: Api,
    pub(super) id: String,
    /// Unix time of the response.
    pub(super) created_seconds: u64,
    pub(super) model: String,
    /// Whether a usage tells the cached tokens.
    pub(super) prompt_tokens_details: bool,
    /// Whether events have a field `usage`, which is null in all but the last.
    pub(super) events_with_usage: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    /// Absent, null or a usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(flatten)]
    content: Content<'a>,
    logprobs: (),
    finish_reason: Option<FinishReason>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Content<'a> {
    Text(&'a str),
    Message(ChatMessage<'a>),
    Delta(ChatMessage<'a>),
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    content: &'a str,
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    total_tokens: u64,
    completion_tokens: u64,
    /// Null without the flag and, as in vLLM, when nothing was cached.
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

impl ResponseEncoder {
    fn usage_body(&self, usage: TotalUsage) -> UsageBody {
        let cached_tokens =
            Some(usage.cached_tokens).filter(|&cached| self.prompt_tokens_details && cached > 0);
        UsageBody {
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.prompt_tokens + usage.output_tokens,
            completion_tokens: usage.output_tokens,
            prompt_tokens_details: cached_tokens.map(|cached_tokens| PromptDetails { cached_tokens }),
        }
    }

    /// Returns the whole response as one JSON document.
    pub(super) fn document(&self, chunks: &[TextChunk], usage: TotalUsage) -> Vec<u8> {
        let object = match self.api {
            Api::Completion => "text_completion",
            Api::Chat => "chat.completion",
        };
        let choices = chunks.iter().map(|chunk| {
            self.choice(chunk, |content| Content::Message(ChatMessage { role: Some("assistant"), content }))
        });
        let document = self.body(object, choices.collect(), Some(Some(self.usage_body(usage))));
        serde_json::to_vec(&document).expect("a document of strings and numbers is always JSON")
    }

    /// Returns the events that precede the first text: in a chat, the role of each of `count` choices.
    pub(super) fn role_events(&self, count: usize) -> Vec<Bytes> {
        let role = |index| {
            let content = Content::Delta(ChatMessage { role: Some("assistant"), content: "" });
            self.event(vec![Choice { index, content, logprobs: (), finish_reason: None }], None)
        };
        match self.api {
            Api::Completion => Vec::new(),
            Api::Chat => (0..count).map(role).collect(),
        }
    }

    /// Returns the event with the next text of one choice.
    pub(super) fn text_event(&self, chunk: &TextChunk) -> Bytes {
        self.event(
            vec![self.choice(chunk, |content| Content::Delta(ChatMessage { role: None, content }))],
            None,
        )
    }

    /// Returns the event with the usage, if the client requested it.
    pub(super) fn usage_event(&self, usage: TotalUsage) -> Option<Bytes> {
        self.events_with_usage.then(|| self.event(Vec::new(), Some(usage)))
    }

    /// Returns the event that ends the stream.
    pub(super) fn done_event() -> Bytes {
        Bytes::from_static(b"data: [DONE]\n\n")
    }

    fn event(&self, choices: Vec<Choice<'_>>, usage: Option<TotalUsage>) -> Bytes {
        let object = match self.api {
            Api::Completion => "text_completion",
            Api::Chat => "chat.completion.chunk",
        };
        let usage = self.events_with_usage.then(|| usage.map(|usage| self.usage_body(usage)));
        let mut event = Vec::with_capacity(256);
        event.extend_from_slice(b"data: ");
        serde_json::to_writer(&mut event, &self.body(object, choices, usage))
            .expect("a document of strings and numbers is always JSON");
        event.extend_from_slice(b"\n\n");
        event.into()
    }

    fn choice<'a>(&self, chunk: &'a TextChunk, chat: impl Fn(&'a str) -> Content<'a>) -> Choice<'a> {
        let content = match self.api {
            Api::Completion => Content::Text(&chunk.text),
            Api::Chat => chat(&chunk.text),
        };
        Choice { index: chunk.index, content, logprobs: (), finish_reason: chunk.finish_reason }
    }

    fn body<'a>(
        &'a self,
        object: &'static str,
        choices: Vec<Choice<'a>>,
        usage: Option<Option<UsageBody>>,
    ) -> Document<'a> {
        Document { id: &self.id, object, created: self.created_seconds, model: &self.model, choices, usage }
    }
}
