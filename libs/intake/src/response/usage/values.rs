//! Parses usage in JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Api;

/// Token counts of a request; `None` if the model server does not report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Generated tokens.
    pub completion_tokens: Option<u64>,
    /// Tokens of the prompt that were in the model server's cache.
    pub cached_tokens: Option<u64>,
}

impl Usage {
    /// Merges a later report: each number that is not zero replaces the previous one, and zero only fills a
    /// gap.
    pub(crate) fn merge(&mut self, later: Self) {
        merge(&mut self.prompt_tokens, later.prompt_tokens);
        merge(&mut self.completion_tokens, later.completion_tokens);
        merge(&mut self.cached_tokens, later.cached_tokens);
    }
}

fn merge(known: &mut Option<u64>, later: Option<u64>) {
    if known.is_none() || later.is_some_and(|tokens| tokens != 0) {
        *known = later.or(*known);
    }
}

/// The top-level key of the usage in all responses except SGLang's.
pub(crate) const USAGE_KEY: &str = "usage";

/// Returns the top-level key of the usage in responses of `api`.
pub(crate) fn usage_key(api: Api) -> &'static str {
    match api {
        Api::SglangGenerate => "meta_info",
        _ => USAGE_KEY,
    }
}

/// All fields that may occur in a usage object.
#[derive(Deserialize)]
struct UsageFields<'a> {
    #[serde(borrow)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cached_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Option<&'a RawValue>,
}

/// An event of a stream.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Of OpenAI's responses API.
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    /// Of Anthropic's messages API.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// Of SGLang.
    #[serde(borrow)]
    meta_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UsageCarrier<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Parses a usage object; returns an empty usage for anything else.
pub(crate) fn parse_usage(json: &[u8]) -> Usage {
    parse_object::<UsageFields<'_>>(json).map(|fields| fields.usage()).unwrap_or_default()
}

/// Parses the usage in an event: its own, or that of the response or message in it when the response is
/// complete or the message starts. SGLang's usage counts only in the event with the finish reason.
pub(crate) fn parse_event(json: &[u8]) -> Usage {
    let Some(event) = parse_object::<Event<'_>>(json) else { return Usage::default() };
    let carrier = match event.kind.as_deref() {
        Some("response.completed") => event.response,
        Some("message_start") => event.message,
        _ => None,
    };
    let inner = carrier.and_then(|carrier| parse_object::<UsageCarrier<'_>>(carrier.get().as_bytes()));
    let usage = event.usage.or(inner.and_then(|carrier| carrier.usage));
    if let Some(usage) = usage {
        return parse_usage(usage.get().as_bytes());
    }
    let last = event.meta_info.and_then(|meta| parse_object::<UsageFields<'_>>(meta.get().as_bytes()));
    let last = last.filter(|fields| fields.finish_reason.is_some());
    last.map(|fields| fields.usage()).unwrap_or_default()
}

impl UsageFields<'_> {
    fn usage(&self) -> Usage {
        let details = self.prompt_tokens_details.or(self.input_tokens_details);
        let details = details.and_then(|details| parse_object::<Details<'_>>(details.get().as_bytes()));
        let cached = details.and_then(|details| details.cached_tokens);
        Usage {
            prompt_tokens: tokens(self.prompt_tokens).or_else(|| tokens(self.input_tokens)),
            completion_tokens: tokens(self.completion_tokens).or_else(|| tokens(self.output_tokens)),
            cached_tokens: tokens(cached)
                .or_else(|| tokens(self.cache_read_input_tokens))
                .or_else(|| tokens(self.cached_tokens)),
        }
    }
}

/// Parses an object. Without this check, a derived implementation would also accept an array.
fn parse_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// Parses a number of tokens, which may be quoted or have a zero fraction.
fn tokens(value: Option<&RawValue>) -> Option<u64> {
    let text = value?.get().trim_matches('"');
    let float = || text.parse().ok().filter(|tokens: &f64| tokens.is_finite() && *tokens >= 0.0);
    text.parse().ok().or_else(|| float().map(|tokens| tokens as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt: u64, completion: u64, cached: u64) -> Usage {
        Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            cached_tokens: Some(cached),
        }
    }

    #[test]
    fn all_usage_formats_are_parsed() {
        for json in [
            r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3}}"#,
            r#"{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"cached_tokens":3}}"#,
            r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":3}"#,
            r#"{"prompt_tokens":"5","completion_tokens":7.0,"cached_tokens":"3","finish_reason":null}"#,
        ] {
            assert_eq!(parse_usage(json.as_bytes()), usage(5, 7, 3), "{json}");
        }
        for json in ["null", "[1,2,3]", "7", "{}", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":[1]}"#] {
            assert_eq!(parse_usage(json.as_bytes()), Usage::default(), "{json}");
        }
    }

    #[test]
    fn usage_in_events_is_found() {
        let inner = r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":3}"#;
        for event in [
            format!(r#"{{"choices":[],"usage":{inner}}}"#),
            format!(r#"{{"type":"response.completed","response":{{"usage":{inner}}}}}"#),
            format!(r#"{{"type":"message_start","message":{{"usage":{inner}}}}}"#),
            format!(r#"{{"type":"message_delta","usage":{inner}}}"#),
            r#"{"meta_info":{"prompt_tokens":5,"completion_tokens":7,"cached_tokens":3,"finish_reason":{"type":"stop"}}}"#
                .to_owned(),
        ] {
            assert_eq!(parse_event(event.as_bytes()), usage(5, 7, 3), "{event}");
        }
        for event in [
            format!(r#"{{"type":"response.created","response":{{"usage":{inner}}}}}"#),
            format!(r#"{{"delta":{{"usage":{inner}}},"usage":null}}"#),
            r#"{"meta_info":{"prompt_tokens":5,"finish_reason":null}}"#.to_owned(),
            "[DONE]".to_owned(),
        ] {
            assert_eq!(parse_event(event.as_bytes()), Usage::default(), "{event}");
        }
    }

    #[test]
    fn later_usage_replaces_earlier_unless_zero() {
        let mut merged = Usage::default();
        merged.merge(Usage { prompt_tokens: Some(5), cached_tokens: Some(0), ..Usage::default() });
        merged.merge(Usage { prompt_tokens: Some(0), completion_tokens: Some(1), ..Usage::default() });
        merged.merge(Usage { completion_tokens: Some(7), ..Usage::default() });
        assert_eq!(merged, usage(5, 7, 0));
    }
}
