//! How many tokens a request took, as JSON says it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Api;

/// How many tokens a request took; `None` where the model server does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens that were generated.
    pub completion_tokens: Option<u64>,
    /// Those tokens of the prompt that were in the model server's cache.
    pub cached_tokens: Option<u64>,
}

impl Usage {
    /// Takes what was said later: each number that is not zero replaces the one before, and zero stands where there
    /// is none.
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

/// The top-level key under which answers say their usage, but for SGLang's.
pub(crate) const KEY: &str = "usage";

/// The top-level key under which an answer of `api` says its usage.
pub(crate) fn key_of(api: Api) -> &'static str {
    match api {
        Api::SglangGenerate => "meta_info",
        _ => KEY,
    }
}

/// All that may stand in the value that says the usage.
#[derive(Deserialize)]
struct Said<'a> {
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
    /// Of OpenAI's responses.
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    /// Of Anthropic's messages.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// Of SGLang.
    #[serde(borrow)]
    meta_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Carrier<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// What the JSON value of an answer's key says; nothing where it is no object.
pub(crate) fn of_value(json: &[u8]) -> Usage {
    object::<Said<'_>>(json).map(|said| said.usage()).unwrap_or_default()
}

/// What an event says: in its usage, or, when a response is complete or a message starts, in that of the response or
/// the message. What SGLang says counts when there is a reason for the end.
pub(crate) fn of_event(json: &[u8]) -> Usage {
    let Some(event) = object::<Event<'_>>(json) else { return Usage::default() };
    let carrier = match event.kind.as_deref() {
        Some("response.completed") => event.response,
        Some("message_start") => event.message,
        _ => None,
    };
    let carried = carrier.and_then(|carrier| object::<Carrier<'_>>(carrier.get().as_bytes()));
    let usage = event.usage.or(carried.and_then(|carrier| carrier.usage));
    if let Some(usage) = usage {
        return of_value(usage.get().as_bytes());
    }
    let last = event.meta_info.and_then(|meta| object::<Said<'_>>(meta.get().as_bytes()));
    let last = last.filter(|said| said.finish_reason.is_some());
    last.map(|said| said.usage()).unwrap_or_default()
}

impl Said<'_> {
    fn usage(&self) -> Usage {
        let details = self.prompt_tokens_details.or(self.input_tokens_details);
        let details = details.and_then(|details| object::<Details<'_>>(details.get().as_bytes()));
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

/// Reads an object; a derived reader takes an array for one as well.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// A number of tokens, which may stand in quotes or have a fraction of zero.
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
    fn all_ways_to_say_it_are_read() {
        for said in [
            r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3}}"#,
            r#"{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"cached_tokens":3}}"#,
            r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":3}"#,
            r#"{"prompt_tokens":"5","completion_tokens":7.0,"cached_tokens":"3","finish_reason":null}"#,
        ] {
            assert_eq!(of_value(said.as_bytes()), usage(5, 7, 3), "{said}");
        }
        for said in ["null", "[1,2,3]", "7", "{}", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":[1]}"#] {
            assert_eq!(of_value(said.as_bytes()), Usage::default(), "{said}");
        }
    }

    #[test]
    fn events_say_it_in_their_places() {
        let inner = r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":3}"#;
        for event in [
            format!(r#"{{"choices":[],"usage":{inner}}}"#),
            format!(r#"{{"type":"response.completed","response":{{"usage":{inner}}}}}"#),
            format!(r#"{{"type":"message_start","message":{{"usage":{inner}}}}}"#),
            format!(r#"{{"type":"message_delta","usage":{inner}}}"#),
            r#"{"meta_info":{"prompt_tokens":5,"completion_tokens":7,"cached_tokens":3,"finish_reason":{"type":"stop"}}}"#
                .to_owned(),
        ] {
            assert_eq!(of_event(event.as_bytes()), usage(5, 7, 3), "{event}");
        }
        for event in [
            format!(r#"{{"type":"response.created","response":{{"usage":{inner}}}}}"#),
            format!(r#"{{"delta":{{"usage":{inner}}},"usage":null}}"#),
            r#"{"meta_info":{"prompt_tokens":5,"finish_reason":null}}"#.to_owned(),
            "[DONE]".to_owned(),
        ] {
            assert_eq!(of_event(event.as_bytes()), Usage::default(), "{event}");
        }
    }

    #[test]
    fn what_is_said_later_counts_unless_it_is_zero() {
        let mut merged = Usage::default();
        merged.merge(Usage { prompt_tokens: Some(5), cached_tokens: Some(0), ..Usage::default() });
        merged.merge(Usage { prompt_tokens: Some(0), completion_tokens: Some(1), ..Usage::default() });
        merged.merge(Usage { completion_tokens: Some(7), ..Usage::default() });
        assert_eq!(merged, usage(5, 7, 0));
    }
}
