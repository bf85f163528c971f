//! Deserializes the messages of a chat, borrowed from the body.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::json::raw_content;
use crate::prompt::Prompt;

/// Maximum number of messages that are kept for hashing. It bounds the memory that a body of tiny messages
/// costs; of later messages only the length counts.
const MAX_KEPT_MESSAGES: usize = 65_536;

/// The messages of a chat.
#[derive(Default)]
pub(crate) struct Messages<'a> {
    /// The first messages.
    pub(crate) kept: Vec<Message<'a>>,
    /// Length of all other messages in bytes.
    pub(crate) rest_bytes: u64,
}

impl<'de: 'a, 'a> Deserialize<'de> for Messages<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessagesVisitor)
    }
}

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut messages = Messages::default();
        while let Some(message) = seq.next_element::<Message<'de>>()? {
            if messages.kept.len() < MAX_KEPT_MESSAGES {
                messages.kept.push(message);
            } else {
                messages.rest_bytes += message.len_bytes();
            }
        }
        Ok(messages)
    }
}

impl Messages<'_> {
    /// Adds the messages to a prompt: the role and content of each, and its tool calls if it has any.
    pub(crate) fn add_to(&self, prompt: &mut Prompt) {
        for message in &self.kept {
            prompt.add_field(message.role);
            prompt.add_field(message.content);
            prompt.add_optional_field("tool_calls", message.tool_calls);
        }
        prompt.add_unhashed(self.rest_bytes);
    }
}

/// One message, as it is written in the body.
pub(crate) struct Message<'a> {
    pub(crate) role: Option<&'a RawValue>,
    pub(crate) content: Option<&'a RawValue>,
    pub(crate) tool_calls: Option<&'a RawValue>,
}

impl Message<'_> {
    fn len_bytes(&self) -> u64 {
        let fields = [self.role, self.content, self.tool_calls];
        fields.into_iter().map(|field| raw_content(field).len() as u64).sum()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

// Implemented by hand because a derived implementation would also accept an array for an object.
struct MessageVisitor;

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Role,
    Content,
    ToolCalls,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut role, mut content, mut tool_calls) = (None, None, None);
        while let Some(key) = map.next_key::<Key>()? {
            let (name, field) = match key {
                Key::Role => ("role", &mut role),
                Key::Content => ("content", &mut content),
                Key::ToolCalls => ("tool_calls", &mut tool_calls),
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if field.is_some() {
                return Err(A::Error::duplicate_field(name));
            }
            *field = Some(map.next_value::<Option<&RawValue>>()?);
        }
        Ok(Message { role: role.flatten(), content: content.flatten(), tool_calls: tool_calls.flatten() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Vec<[&str; 3]>> {
        let messages: Messages<'_> = serde_json::from_str(json).ok()?;
        Some(messages.kept.iter().map(|m| [m.role, m.content, m.tool_calls].map(raw_content)).collect())
    }

    #[test]
    fn only_role_content_and_tool_calls_are_read() {
        let json = r#"[
            {"role":"system","content":"be\tbrief"},
            {"content":[{"type":"text","text":"hi"}],"name":{"content":1},"role":"user"},
            {"role":"assistant","content":null,"tool_calls":[{"role":"x"}]},
            {}
        ]"#;
        let expected = vec![
            ["system", r"be\tbrief", ""],
            ["user", r#"[{"type":"text","text":"hi"}]"#, ""],
            ["assistant", "", r#"[{"role":"x"}]"#],
            ["", "", ""],
        ];
        assert_eq!(read(json), Some(expected));
    }

    #[test]
    fn anything_but_an_array_of_objects_is_rejected() {
        for json in [
            r#""hi""#,
            "{}",
            "7",
            r#"["hi"]"#,
            r#"[["user","hi"]]"#,
            "[null]",
            r#"[{"role":"a","role":"a"}]"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn messages_beyond_the_limit_count_only_by_length() {
        let one = r#"{"role":"ab","content":"c"}"#;
        let json = format!("[{}]", vec![one; MAX_KEPT_MESSAGES + 10].join(","));
        let messages: Messages<'_> = serde_json::from_str(&json).unwrap();
        assert_eq!((messages.kept.len(), messages.rest_bytes), (MAX_KEPT_MESSAGES, 30));
    }
}
