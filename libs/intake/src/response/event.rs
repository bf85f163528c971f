//! Classifies the events of a stream: which of them carry output of the model, and which report an error.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_types::ResponseKey;

use crate::response::error::{ErrorMembers, ResponseError};
use crate::response::json_value::{is_nonempty, parse_object};
use crate::response::usage::{UsageParts, parse_last_meta_info, parse_usage};

/// What one event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) usage: UsageParts,
    pub(crate) content: EventContent,
    /// The response that the event is about, in OpenAI's responses API.
    pub(crate) response: Option<ResponseKey>,
}

/// The content of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventContent {
    /// Neither output nor an error: the prompt may still be waiting.
    #[default]
    Other,
    /// Something that the model generated, so the prompt is processed.
    Output,
    Error(ResponseError),
}

/// Kinds of events that carry a complete response with its usage, in OpenAI's responses API.
pub(crate) fn ends_response(kind: &str) -> bool {
    matches!(kind, "response.completed" | "response.incomplete" | "response.failed")
}

/// Kinds of events that carry a response with its id, in OpenAI's responses API.
pub(crate) fn names_response(kind: &str) -> bool {
    kind == "response.created" || ends_response(kind)
}

/// All members of an event that are read, over all APIs.
#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    error_type: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Of OpenAI's completions and chats, and of vLLM's token API.
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    /// Of OpenAI's responses and Anthropic's messages.
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    /// Of OpenAI's responses.
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    /// Of Anthropic's messages.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    /// Of SGLang.
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    output_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    meta_info: Option<&'a RawValue>,
    /// Of TGI.
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

/// Members of objects in an event: of choices, deltas, blocks, tool calls and audio. Those listed in
/// [`Parts::is_output`] are output.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    token_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
    /// Of audio, and of Anthropic's encrypted thinking.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    transcript: Option<&'a RawValue>,
    /// Of a tool call.
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// Objects with parts of their own.
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<&'a RawValue>,
    #[serde(borrow)]
    custom: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

/// The usage and the error of a response or message in an event.
#[derive(Deserialize)]
struct Enclosed<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The id of a response.
#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// How deeply parts are nested at most: choice, delta, tool call, function.
const MAX_PART_DEPTH: u32 = 4;

/// Parses an event. Anything but an object says nothing.
pub(crate) fn parse_event(json: &[u8]) -> Event {
    let Some(fields) = parse_object::<EventFields<'_>>(json) else { return Event::default() };
    let enclosed = fields.enclosed();
    let content = match fields.error(enclosed.as_ref()) {
        Some(error) => EventContent::Error(error),
        None if fields.is_output() => EventContent::Output,
        None => EventContent::Other,
    };
    Event { usage: fields.usage(enclosed.as_ref()), content, response: fields.response_key() }
}

impl<'a> EventFields<'a> {
    /// Returns the response or message in the event, if the event reports its usage.
    fn enclosed(&self) -> Option<Enclosed<'a>> {
        let carrier = match self.kind.as_deref()? {
            kind if ends_response(kind) => self.response,
            "message_start" => self.message,
            _ => None,
        };
        parse_object(carrier?.get().as_bytes())
    }

    /// Returns the usage: the event's own, or that of the response or message in it. SGLang's usage counts
    /// only in the event with the finish reason.
    fn usage(&self, enclosed: Option<&Enclosed<'_>>) -> UsageParts {
        match self.usage.or(enclosed.and_then(|enclosed| enclosed.usage)) {
            Some(usage) => parse_usage(usage.get().as_bytes()),
            None => {
                self.meta_info.map(|meta| parse_last_meta_info(meta.get().as_bytes())).unwrap_or_default()
            }
        }
    }

    fn response_key(&self) -> Option<ResponseKey> {
        let response = self.response.filter(|_| self.kind.as_deref().is_some_and(names_response))?;
        let id = parse_object::<Identified<'_>>(response.get().as_bytes())?.id?;
        Some(ResponseKey::of(&id))
    }

    fn error(&self, enclosed: Option<&Enclosed<'_>>) -> Option<ResponseError> {
        let mut members = ErrorMembers::default();
        let text = |value: &'a RawValue| value.get().as_bytes();
        self.error.into_iter().for_each(|error| members.on_error(text(error)));
        self.kind.iter().for_each(|kind| members.on_kind(kind));
        self.object.into_iter().for_each(|object| members.on_kind(object.get().trim_matches('"')));
        [self.code, self.error_type]
            .into_iter()
            .flatten()
            .for_each(|value| members.on_outer_status(text(value)));
        let mut inner = ErrorMembers::default();
        let enclosed_error = enclosed.and_then(|enclosed| enclosed.error);
        enclosed_error.into_iter().for_each(|error| inner.on_error(error.get().as_bytes()));
        members.or(inner).error()
    }

    fn is_output(&self) -> bool {
        let has_parts =
            |value: Option<&RawValue>| value.is_some_and(|value| has_output(value, MAX_PART_DEPTH));
        match self.kind.as_deref() {
            Some("content_block_delta") => has_parts(self.delta),
            Some("content_block_start") => has_parts(self.content_block),
            // A message is announced without content; a tool call with the tool's name.
            Some("response.output_item.added") => has_parts(self.item),
            Some(kind) if kind.starts_with("response.") => {
                kind.ends_with(".delta") && self.delta.is_some_and(|delta| is_nonempty(delta.get()))
            }
            Some(_) => has_parts(self.choices),
            None => {
                has_parts(self.choices)
                    || [self.text, self.output_ids, self.token]
                        .into_iter()
                        .flatten()
                        .any(|it| is_nonempty(it.get()))
            }
        }
    }
}

/// Returns whether an object, or any of an array of objects, has output among its parts.
fn has_output(value: &RawValue, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let text = value.get();
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        return items.into_iter().any(|item| {
            parse_object::<Parts<'_>>(item.get().as_bytes()).is_some_and(|parts| parts.is_output(depth))
        });
    }
    parse_object::<Parts<'_>>(text.as_bytes()).is_some_and(|parts| parts.is_output(depth))
}

impl Parts<'_> {
    fn is_output(&self, depth: u32) -> bool {
        let own = [
            self.text,
            self.content,
            self.reasoning,
            self.reasoning_content,
            self.thinking,
            self.refusal,
            self.token_ids,
            self.partial_json,
            self.citation,
            self.data,
            self.transcript,
            self.name,
            self.arguments,
            self.input,
        ];
        let nested =
            [self.delta, self.audio, self.function, self.custom, self.function_call, self.tool_calls];
        own.into_iter().flatten().any(|value| is_nonempty(value.get()))
            || nested.into_iter().flatten().any(|value| has_output(value, depth))
    }
}

#[cfg(test)]
mod tests;
