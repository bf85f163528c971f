//! Hashes the items of the responses and conversations APIs.

use signalbox_types::MediaKind;

use crate::json::cursor::{Cursor, Object};
use crate::json::escapes::name;
use crate::prompt::Prompt;
use crate::prompt::content::Author;
use crate::prompt::marks::{END, MESSAGE};
use crate::prompt::media::Payload;

impl Prompt {
    /// Adds an input: a string, or an array of items. A string is the same input as one message of the user
    /// with it.
    pub(crate) fn add_input(&mut self, json: &str) {
        let mut cursor = Cursor::new(json);
        if !cursor.enter_array() {
            return self.add_plain_message("user", Some(json), Author::Message);
        }
        while !cursor.leave_array() {
            match cursor.object() {
                Some(item) => self.add_item(&item),
                None => self.add_block(cursor.value()),
            }
        }
    }

    /// Adds a message that consists of a role and a content.
    pub(crate) fn add_plain_message(&mut self, role: &str, content: Option<&str>, author: Author) {
        self.write(&[MESSAGE]);
        self.write(role.as_bytes());
        self.write(&[END]);
        self.add_content(content, author);
        self.write(&[END]);
    }

    fn add_item(&mut self, item: &Object<'_>) {
        if !item.is_complete() {
            return self.add_block(item.json());
        }
        let kind = item.get_string("type").map(name);
        match kind.as_deref() {
            Some("message") => self.add_message(item),
            None if item.get("role").is_some() => self.add_message(item),
            Some("function_call" | "custom_tool_call") => {
                self.add_field("call", item.get("call_id"), 0);
                self.add_field("tool_name", item.get("name"), 0);
                self.add_field("arguments", item.get("arguments").or_else(|| item.get("input")), 0);
            }
            Some("function_call_output" | "custom_tool_call_output" | "computer_call_output") => {
                self.add_field("call_output", item.get("call_id"), 0);
                self.add_content_field("tool_output", item.get("output"));
            }
            Some("reasoning") => {
                self.add_content_field("summary", item.get("summary"));
                self.add_content_field("reasoning", item.get("content"));
                self.add_opaque(MediaKind::EncryptedReasoning, item.get_string("encrypted_content"));
            }
            Some("image_generation_call") => match item.get_string("result") {
                Some(data) => self.add_medium(
                    MediaKind::Image,
                    Payload::of_data_url(data).unwrap_or(Payload::Embedded(data)),
                ),
                None => self.add_block(item.json()),
            },
            _ => self.add_block(item.json()),
        }
    }
}
