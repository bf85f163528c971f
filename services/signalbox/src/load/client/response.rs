//! Parses responses of model servers: events of a stream, complete bodies, and the usage in both.

use serde::Deserialize;

use crate::load::results::statistics::Usage;

/// Data of the last event of a stream.
const DONE: &[u8] = b"[DONE]";

/// An event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part of the response: whether it has text, and the usage if it is reported.
    Part { text: Text, usage: Option<Usage> },
    /// The stream is complete.
    Done,
    /// An error that the server reports in the stream.
    Error,
    /// Not an event of this API.
    Invalid,
}

/// Whether a part of a response has text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Present,
    Absent,
}

/// Parses the data of an event.
pub(crate) fn parse_event(data: &[u8]) -> Event {
    if data == DONE {
        return Event::Done;
    }
    match serde_json::from_slice::<Document>(data) {
        Ok(document) if document.error.is_some() => Event::Error,
        Ok(document) => {
            let text =
                if document.choices.iter().any(Choice::has_text) { Text::Present } else { Text::Absent };
            Event::Part { text, usage: document.usage.map(Usage::from) }
        }
        Err(_) => Event::Invalid,
    }
}

/// Parses the body of a response that is not streamed. Returns its usage, if reported, or `None` if the body
/// is invalid.
pub(crate) fn parse_body(body: &[u8]) -> Option<Option<Usage>> {
    let document: Document = serde_json::from_slice(body).ok()?;
    (document.error.is_none() && !document.choices.is_empty()).then(|| document.usage.map(Usage::from))
}

/// Returns the name of the first model in a response of `/v1/models`.
pub(crate) fn parse_first_model(body: &[u8]) -> Option<String> {
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

/// A choice of the chat or the completions API, streamed or not.
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
    fn events_of_both_apis_are_parsed() {
        let part = |text| Event::Part { text, usage: None };
        assert_eq!(parse_event(br#"{"choices":[{"delta":{"content":"x"}}]}"#), part(Text::Present));
        assert_eq!(
            parse_event(br#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#),
            part(Text::Absent)
        );
        assert_eq!(
            parse_event(br#"{"choices":[{"text":" x","index":0}],"usage":null}"#),
            part(Text::Present)
        );
        assert_eq!(parse_event(b"[DONE]"), Event::Done);
        assert_eq!(parse_event(br#"{"error":{"message":"m"}}"#), Event::Error);
        assert_eq!(parse_event(b"{"), Event::Invalid);
    }

    #[test]
    fn usage_is_parsed_with_and_without_cached_tokens() {
        let usage = Usage { prompt_tokens: 9, completion_tokens: 2, cached_tokens: Some(4) };
        let text = br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,
            "prompt_tokens_details":{"cached_tokens":4}}}"#;
        assert_eq!(parse_event(text), Event::Part { text: Text::Absent, usage: Some(usage) });
        let text =
            br#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}"#;
        let usage = Usage { prompt_tokens: 9, completion_tokens: 0, cached_tokens: None };
        assert_eq!(parse_body(text), Some(Some(usage)));
        assert_eq!(parse_body(br#"{"choices":[]}"#), None);
    }

    #[test]
    fn the_first_model_is_returned() {
        assert_eq!(
            parse_first_model(br#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#).as_deref(),
            Some("a")
        );
        assert_eq!(parse_first_model(br#"{"data":[]}"#), None);
    }
}
