//! Hashes the messages of a chat.

use crate::error::MessagesError;
use crate::json::cursor::{Cursor, Object, unquoted};
use crate::prompt::Prompt;
use crate::prompt::content::Author;
use crate::prompt::marks::{END, MESSAGE};

/// The members of a message that templates render.
const RENDERED: [&str; 10] = [
    "role",
    "name",
    "reasoning",
    "reasoning_content",
    "content",
    "tools",
    "task",
    "tool_calls",
    "function_call",
    "tool_call_id",
];

/// How deep cache marks are left out of tools: from a tool and from its function, not from the parameters.
pub(crate) const TOOL_CACHE_MARK_DEPTH: usize = 3;

/// How deep cache marks are left out of tool calls: from a call, not from its arguments.
const CALL_CACHE_MARK_DEPTH: usize = 2;

impl Prompt {
    /// Adds the messages of a chat, an array of objects.
    ///
    /// # Errors
    /// Returns an error if `messages` is something else, or if a message repeats a member that is read.
    pub(crate) fn add_messages(&mut self, messages: &str) -> Result<(), MessagesError> {
        let mut cursor = Cursor::new(messages);
        if !cursor.enter_array() {
            return Err(MessagesError::NotMessages);
        }
        while !cursor.leave_array() {
            let message = cursor.object().ok_or(MessagesError::NotMessages)?;
            if let Some(repeated) = message.find_repeated(&RENDERED) {
                return Err(MessagesError::DuplicateKey(repeated));
            }
            self.add_message(&message);
        }
        Ok(())
    }

    /// Adds a message.
    pub(crate) fn add_message(&mut self, message: &Object<'_>) {
        if !message.is_complete() {
            return self.add_block(message.json());
        }
        self.write(&[MESSAGE]);
        let role = message.get("role").unwrap_or_default();
        self.add_escaped(unquoted(role).unwrap_or(role));
        self.write(&[END]);
        self.add_field("name", message.get("name"), 0);
        self.add_reasoning(message);
        let author = Author::Message;
        self.add_content(message.get("content"), author);
        self.write(&[END]);
        self.add_field("tools", present_list(message.get("tools")), TOOL_CACHE_MARK_DEPTH);
        self.add_field("task", message.get("task"), 0);
        self.add_field("tool_calls", present_list(message.get("tool_calls")), CALL_CACHE_MARK_DEPTH);
        self.add_field("function_call", message.get("function_call"), 0);
        self.add_field("tool_call_id", message.get("tool_call_id"), 0);
    }

    /// Adds the reasoning of a message. It has two names; engines take the one that is there.
    fn add_reasoning(&mut self, message: &Object<'_>) {
        let (new, old) = (message.get("reasoning"), message.get("reasoning_content"));
        self.add_field("reasoning", new.or(old), 0);
        self.add_field("reasoning_content", old.filter(|old| new.is_some_and(|new| new != *old)), 0);
    }
}

/// Returns a list unless it is empty: templates treat an empty list as none.
fn present_list(json: Option<&str>) -> Option<&str> {
    json.filter(|json| {
        let mut cursor = Cursor::new(json);
        !(cursor.enter_array() && cursor.leave_array())
    })
}
