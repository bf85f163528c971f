//! Picks members out of a JSON object without buffering it: of a document, or of an event that is too long to
//! be parsed.

mod members;

use memchr::memchr2;
use signalbox_types::ResponseKey;

use self::members::{Capture, Enclosing, Found, Member};
use crate::response::error::ResponseError;
use crate::response::usage::UsageParts;

/// Maximum length of a key that is read.
const MAX_KEY_BYTES: usize = 16;

/// Scans one object that arrives in pieces of any size.
///
/// It tracks strings and brackets and assumes that the input is valid JSON. The result for invalid input is
/// unspecified.
#[derive(Debug, Default)]
pub(crate) struct JsonScan {
    /// Number of open brackets.
    depth: usize,
    has_begun: bool,
    state: State,
    key: Key,
    /// The member of the outermost object whose value is being read, if that value has members to read.
    enclosing: Option<Enclosing>,
    capture: Option<Capture>,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside of strings; what the next string is.
    Structure(NextString),
    Key,
    /// In any other string.
    StringValue,
    /// After a backslash in a string or a key.
    Escape(NextString),
}

impl Default for State {
    fn default() -> Self {
        Self::Structure(NextString::Value)
    }
}

/// What a string would be if it started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextString {
    Key,
    Value,
}

/// The latest key. A key that is too long or has an escape matches none.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    bytes: [u8; MAX_KEY_BYTES],
    len: usize,
}

impl Key {
    fn push(&mut self, byte: u8) {
        if let Some(next) = self.bytes.get_mut(self.len) {
            *next = byte;
        }
        self.len = (self.len + 1).min(MAX_KEY_BYTES + 1);
    }

    fn invalidate(&mut self) {
        self.len = MAX_KEY_BYTES + 1;
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl JsonScan {
    /// Returns the usage and the error of a document, in which SGLang's usage is complete.
    pub(super) fn document(&self) -> (UsageParts, Option<ResponseError>) {
        let mut usage = self.found.meta_info;
        usage.merge(self.found.usage);
        (usage, self.found.error.error())
    }

    /// Returns the usage and the error of an event; like [`crate::response::event::parse_event`].
    pub(super) fn event(&self) -> (UsageParts, Option<ResponseError>) {
        let Found { ends_response, starts_message, error, .. } = self.found;
        let error = if ends_response { error.or(self.found.enclosed_error) } else { error };
        let mut usage = self.found.last_meta_info;
        if ends_response {
            usage.merge(self.found.response_usage);
        }
        if starts_message {
            usage.merge(self.found.message_usage);
        }
        usage.merge(self.found.usage);
        (usage, error.error())
    }

    /// Returns the response that a document is, if it has an id.
    pub(super) fn document_response(&self) -> Option<ResponseKey> {
        self.found.id
    }

    /// Returns the response that an event is about; like [`crate::response::event::parse_event`].
    pub(super) fn event_response(&self) -> Option<ResponseKey> {
        self.found.enclosed_id.filter(|_| self.found.names_response)
    }

    /// Returns whether the object, or whatever other JSON has come, is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.has_begun && self.depth == 0
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.state == State::StringValue {
                let len = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.capture_bytes(&rest[..len]);
                rest = &rest[len..];
            }
            let Some((&byte, after)) = rest.split_first() else { return };
            self.step(byte);
            rest = after;
        }
    }

    fn step(&mut self, byte: u8) {
        match self.state {
            State::Structure(next) => self.on_structure(byte, next),
            State::Key => self.on_key_byte(byte),
            State::StringValue => {
                self.capture_bytes(&[byte]);
                match byte {
                    b'"' => self.state = State::Structure(NextString::Value),
                    b'\\' => self.state = State::Escape(NextString::Value),
                    _ => {}
                }
            }
            State::Escape(NextString::Key) => {
                self.key.invalidate();
                self.state = State::Key;
            }
            State::Escape(NextString::Value) => {
                self.capture_bytes(&[byte]);
                self.state = State::StringValue;
            }
        }
    }

    /// Returns whether the innermost open bracket is that of an object whose members are read.
    fn is_in_members(&self) -> bool {
        self.depth == 1 || self.depth == 2 && self.enclosing.is_some()
    }

    fn on_structure(&mut self, byte: u8, next: NextString) {
        // A value ends at the next separator or bracket of its object.
        if matches!(byte, b',' | b'}' | b']') {
            self.end_value();
        }
        if byte == b'"' && next == NextString::Key {
            (self.state, self.key) = (State::Key, Key::default());
            return;
        }
        if let (b']', Some(capture)) = (byte, &mut self.capture) {
            capture.end_array(self.depth.saturating_sub(1));
        }
        self.capture_bytes(&[byte]);
        match byte {
            b'"' => self.state = State::StringValue,
            b'{' | b'[' => {
                if let (b'[', Some(capture)) = (byte, &mut self.capture) {
                    capture.begin_array(self.depth);
                }
                self.depth += 1;
                self.has_begun = true;
                self.enclosing = self.enclosing.filter(|_| self.depth != 2 || byte == b'{');
                let has_members = byte == b'{' && self.is_in_members();
                self.state = State::Structure(if has_members { NextString::Key } else { NextString::Value });
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if self.is_in_members() => {
                self.enclosing = self.enclosing.filter(|_| self.depth == 2);
                self.state = State::Structure(NextString::Key);
            }
            b':' if self.is_in_members() => {
                self.state = State::Structure(NextString::Value);
                self.begin_value();
            }
            _ => {}
        }
    }

    fn on_key_byte(&mut self, byte: u8) {
        match byte {
            b'\\' => self.state = State::Escape(NextString::Key),
            b'"' => self.state = State::Structure(NextString::Value),
            _ => self.key.push(byte),
        }
    }

    /// Begins the value of the latest key.
    fn begin_value(&mut self) {
        let key = self.key.as_bytes();
        let member = match (self.depth, self.enclosing, key) {
            (1, _, b"type") => Some(Member::Kind),
            (1, _, b"id") => Some(Member::Id),
            (1, _, b"object") => Some(Member::Object),
            (1, _, b"error") => Some(Member::Error),
            (1, _, b"code" | b"error_type") => Some(Member::OuterStatus),
            (1, _, b"usage") => Some(Member::Usage),
            (1, _, b"meta_info") => Some(Member::MetaInfo),
            (2, Some(enclosing), b"usage") => Some(Member::EnclosedUsage(enclosing)),
            (2, Some(Enclosing::Response), b"id") => Some(Member::EnclosedId),
            (2, Some(Enclosing::Response), b"error") => Some(Member::EnclosedError),
            _ => None,
        };
        if self.depth == 1 {
            self.enclosing = match key {
                b"response" => Some(Enclosing::Response),
                b"message" => Some(Enclosing::Message),
                _ => None,
            };
        }
        self.capture = member.map(|member| Capture::new(member, self.depth));
        // A later key must not match this one.
        self.key.invalidate();
    }

    /// Passes on bytes of a wanted value; ignores all others.
    fn capture_bytes(&mut self, bytes: &[u8]) {
        if let Some(capture) = &mut self.capture {
            capture.push(bytes);
        }
    }

    fn end_value(&mut self) {
        if let Some(capture) = self.capture.take_if(|capture| capture.depth == self.depth) {
            self.found.add(&capture);
        }
    }
}

#[cfg(test)]
mod tests;
