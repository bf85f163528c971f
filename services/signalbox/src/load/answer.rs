//! Reads what a model server answers: events of a stream, whole answers, and the usage in both.

use serde::Deserialize;

/// The last event of a stream.
const DONE: &[u8] = b"[DONE]";

/// The tokens a request was charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    /// Of the prompt's tokens, those that were found in the cache; none if the server does not say.
    pub(super) cached_tokens: Option<u64>,
}

/// What an event of a stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part of the answer: whether it has any text, and the usage if it tells.
    Part { content: Content, usage: Option<Usage> },
    /// The stream is complete.
    Done,
    /// The server reports an error within the stream.
    Failed,
    /// Not an event of this API.
    Illegible,
}

/// Whether a part of an answer has any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Some,
    None,
}

/// Reads the data of an event.
pub(super) fn event(data: &[u8]) -> Event {
    if data == DONE {
        return Event::Done;
    }
    match serde_json::from_slice::<Document>(data) {
        Ok(document) if document.error.is_some() => Event::Failed,
        Ok(document) => {
            let content =
                if document.choices.iter().any(Choice::has_text) { Content::Some } else { Content::None };
            Event::Part { content, usage: document.usage.map(Usage::from) }
        }
        Err(_) => Event::Illegible,
    }
}

/// Reads a whole answer; none if it is not one.
pub(super) fn whole(body: &[u8]) -> Option<Option<Usage>> {
    let document: Document = serde_json::from_slice(body).ok()?;
    (document.error.is_none() && !document.choices.is_empty()).then(|| document.usage.map(Usage::from))
}

/// The name of the first model in an answer to `/v1/models`.
pub(super) fn first_model(body: &[u8]) -> Option<String> {
    let models: Models = serde_json::from_slice(body).ok()?;
    models.data.into_iter().next().map(|model| model.id)
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    error: Option<serde::de::IgnoredAny>,
}

/// Of either API, of a stream or not.
#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
}

impl Choice {
    fn has_text(&self) -> bool {
        let delta = self.delta.as_ref();
        let content = delta.and_then(|delta| delta.content.as_deref());
        let reasoning = delta.and_then(|delta| delta.reasoning_content.as_deref());
        [self.text.as_deref(), content, reasoning].into_iter().flatten().any(|text| !text.is_empty())
    }
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
        }
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_both_apis_are_read() {
        let part = |content| Event::Part { content, usage: None };
        assert_eq!(event(br#"{"choices":[{"delta":{"content":"x"}}]}"#), part(Content::Some));
        assert_eq!(
            event(br#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#),
            part(Content::None)
        );
        assert_eq!(event(br#"{"choices":[{"text":" x","index":0}],"usage":null}"#), part(Content::Some));
        assert_eq!(event(b"[DONE]"), Event::Done);
        assert_eq!(event(br#"{"error":{"message":"m"}}"#), Event::Failed);
        assert_eq!(event(b"{"), Event::Illegible);
    }

    #[test]
    fn usage_is_read_with_and_without_cached_tokens() {
        let usage = Usage { prompt_tokens: 9, completion_tokens: 2, cached_tokens: Some(4) };
        let text = br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,
            "prompt_tokens_details":{"cached_tokens":4}}}"#;
        assert_eq!(event(text), Event::Part { content: Content::None, usage: Some(usage) });
        let text =
            br#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}"#;
        let usage = Usage { prompt_tokens: 9, completion_tokens: 0, cached_tokens: None };
        assert_eq!(whole(text), Some(Some(usage)));
        assert_eq!(whole(br#"{"choices":[]}"#), None);
    }

    #[test]
    fn the_first_model_is_named() {
        assert_eq!(first_model(br#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#).as_deref(), Some("a"));
        assert_eq!(first_model(br#"{"data":[]}"#), None);
    }
}
