//! Answers as OpenAI's API shapes them.

use axum::body::Bytes;
use serde::Serialize;

use crate::engine::Usage;

/// Which of the two APIs is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Completion,
    Chat,
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinishReason {
    /// As many tokens as the client asked for.
    Length,
    /// The model had said what it had to say.
    Stop,
}

/// Tokens of all prompts of a request.
#[derive(Clone, Copy, Default)]
pub(super) struct Bill {
    prompt_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
}

impl Bill {
    pub(super) fn add(&mut self, usage: Usage) {
        self.prompt_tokens += u64::from(usage.prompt_tokens);
        self.cached_tokens += u64::from(usage.cached_tokens);
        self.output_tokens += u64::from(usage.output_tokens);
    }
}

/// A part of one answer: the next words, or all of them.
pub(super) struct Piece {
    /// Which prompt it answers.
    pub(super) index: usize,
    pub(super) text: String,
    pub(super) finish_reason: Option<FinishReason>,
}

/// What all parts of one reply have in common.
pub(super) struct Reply {
    pub(super) shape: Shape,
    pub(super) id: String,
    /// Unix time.
    pub(super) created_seconds: u64,
    pub(super) model: String,
    /// Whether events have a field `usage`, null but for the last.
    pub(super) events_with_usage: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    /// Absent, null or there.
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
    Message(Words<'a>),
    Delta(Words<'a>),
}

#[derive(Serialize)]
struct Words<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    content: &'a str,
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    total_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: PromptDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

impl From<Bill> for UsageBody {
    fn from(bill: Bill) -> Self {
        Self {
            prompt_tokens: bill.prompt_tokens,
            total_tokens: bill.prompt_tokens + bill.output_tokens,
            completion_tokens: bill.output_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens: bill.cached_tokens },
        }
    }
}

impl Reply {
    /// The whole reply as one JSON document.
    pub(super) fn whole(&self, pieces: &[Piece], bill: Bill) -> Vec<u8> {
        let object = match self.shape {
            Shape::Completion => "text_completion",
            Shape::Chat => "chat.completion",
        };
        let choices = pieces.iter().map(|piece| {
            self.choice(piece, |content| Content::Message(Words { role: Some("assistant"), content }))
        });
        let document = self.document(object, choices.collect(), Some(Some(bill.into())));
        serde_json::to_vec(&document).expect("a document of strings and numbers is always JSON")
    }

    /// What comes before the first words: in a chat, whose turn it is, for each answer.
    pub(super) fn opening(&self, answers: usize) -> Vec<Bytes> {
        let role = |index| {
            let content = Content::Delta(Words { role: Some("assistant"), content: "" });
            self.event(vec![Choice { index, content, logprobs: (), finish_reason: None }], None)
        };
        match self.shape {
            Shape::Completion => Vec::new(),
            Shape::Chat => (0..answers).map(role).collect(),
        }
    }

    /// An event with the next words of one answer.
    pub(super) fn piece(&self, piece: &Piece) -> Bytes {
        self.event(vec![self.choice(piece, |content| Content::Delta(Words { role: None, content }))], None)
    }

    /// The event with the bill, for clients that asked for it.
    pub(super) fn bill(&self, bill: Bill) -> Option<Bytes> {
        self.events_with_usage.then(|| self.event(Vec::new(), Some(bill)))
    }

    /// The event after the last.
    pub(super) fn done() -> Bytes {
        Bytes::from_static(b"data: [DONE]\n\n")
    }

    fn event(&self, choices: Vec<Choice<'_>>, bill: Option<Bill>) -> Bytes {
        let object = match self.shape {
            Shape::Completion => "text_completion",
            Shape::Chat => "chat.completion.chunk",
        };
        let usage = self.events_with_usage.then(|| bill.map(UsageBody::from));
        let mut event = Vec::with_capacity(256);
        event.extend_from_slice(b"data: ");
        serde_json::to_writer(&mut event, &self.document(object, choices, usage))
            .expect("a document of strings and numbers is always JSON");
        event.extend_from_slice(b"\n\n");
        event.into()
    }

    fn choice<'a>(&self, piece: &'a Piece, chat: impl Fn(&'a str) -> Content<'a>) -> Choice<'a> {
        let content = match self.shape {
            Shape::Completion => Content::Text(&piece.text),
            Shape::Chat => chat(&piece.text),
        };
        Choice { index: piece.index, content, logprobs: (), finish_reason: piece.finish_reason }
    }

    fn document<'a>(
        &'a self,
        object: &'static str,
        choices: Vec<Choice<'a>>,
        usage: Option<Option<UsageBody>>,
    ) -> Document<'a> {
        Document { id: &self.id, object, created: self.created_seconds, model: &self.model, choices, usage }
    }
}
