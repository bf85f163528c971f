//! Reads usage from a JSON document without buffering it.

use memchr::memchr2;

use crate::response::usage::values::{Usage, parse_usage};

/// Maximum length of a captured value. It bounds the memory that a document costs.
const MAX_VALUE_BYTES: usize = 16_384;

/// Captures the value of a top-level key in a document that arrives in pieces of any size.
///
/// It tracks strings and brackets and assumes that the input is valid JSON. The result for invalid input is
/// unspecified.
#[derive(Debug)]
pub(crate) struct JsonDocumentReader {
    key: &'static [u8],
    /// Number of open brackets.
    depth: usize,
    state: State,
    capture: Capture,
    /// The captured part of the value.
    value: Vec<u8>,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside of strings; what the next string is.
    Structure(NextString),
    /// In a key of the outermost object; how many bytes match the wanted key so far, `None` after a mismatch.
    Key(Option<usize>),
    /// In any other string.
    StringValue,
    /// After a backslash in a string or a key. The wanted keys contain none.
    Escape(NextString),
}

/// What a string would be if it started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextString {
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    Off,
    /// The key was found, its value follows.
    Armed,
    On,
}

impl JsonDocumentReader {
    /// Returns a reader of the document's usage, which is the value of `key`.
    pub(crate) fn new(key: &'static str) -> Self {
        Self {
            key: key.as_bytes(),
            depth: 0,
            state: State::Structure(NextString::Value),
            capture: Capture::Off,
            value: Vec::new(),
            usage: Usage::default(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            if self.state == State::StringValue {
                let len = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.capture_bytes(&rest[..len]);
                rest = &rest[len..];
                let Some((&byte, after)) = rest.split_first() else { return };
                self.step(byte);
                rest = after;
            } else {
                self.step(byte);
                rest = after;
            }
        }
    }

    fn step(&mut self, byte: u8) {
        match self.state {
            State::Structure(next) => self.on_structure(byte, next),
            State::Key(matched) => self.on_key_byte(byte, matched),
            State::StringValue => {
                self.capture_bytes(&[byte]);
                match byte {
                    b'"' => self.state = State::Structure(NextString::Value),
                    b'\\' => self.state = State::Escape(NextString::Value),
                    _ => {}
                }
            }
            State::Escape(NextString::Key) => self.state = State::Key(None),
            State::Escape(NextString::Value) => {
                self.capture_bytes(&[byte]);
                self.state = State::StringValue;
            }
        }
    }

    fn on_structure(&mut self, byte: u8, next: NextString) {
        // The value ends at the next separator or bracket of the outermost object.
        if self.depth == 1 && matches!(byte, b',' | b'}' | b']') {
            self.end_value();
        }
        self.capture_bytes(&[byte]);
        match byte {
            b'"' if self.depth == 1 && next == NextString::Key => self.state = State::Key(Some(0)),
            b'"' => self.state = State::StringValue,
            b'{' | b'[' => {
                self.depth += 1;
                let is_object = self.depth == 1 && byte == b'{';
                self.state = State::Structure(if is_object { NextString::Key } else { NextString::Value });
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if self.depth == 1 => self.state = State::Structure(NextString::Key),
            b':' if self.depth == 1 => {
                self.state = State::Structure(NextString::Value);
                if self.capture == Capture::Armed {
                    self.capture = Capture::On;
                }
            }
            _ => {}
        }
    }

    fn on_key_byte(&mut self, byte: u8, matched: Option<usize>) {
        self.state = match byte {
            b'\\' => State::Escape(NextString::Key),
            b'"' => {
                let is_found = matched == Some(self.key.len());
                self.capture = if is_found { Capture::Armed } else { Capture::Off };
                State::Structure(NextString::Value)
            }
            _ => {
                let is_next = |at: &usize| self.key.get(*at) == Some(&byte);
                State::Key(matched.filter(is_next).map(|at| at + 1))
            }
        };
    }

    /// Appends bytes of the wanted value; ignores all others.
    fn capture_bytes(&mut self, bytes: &[u8]) {
        if self.capture != Capture::On {
            return;
        }
        if self.value.len() + bytes.len() > MAX_VALUE_BYTES {
            self.capture = Capture::Off;
            self.value = Vec::new();
        } else {
            self.value.extend_from_slice(bytes);
        }
    }

    fn end_value(&mut self) {
        if self.capture == Capture::On {
            self.usage.merge(parse_usage(&self.value));
        }
        self.capture = Capture::Off;
        self.value = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str, piece_bytes: usize) -> Option<u64> {
        let mut reader = JsonDocumentReader::new("usage");
        document.as_bytes().chunks(piece_bytes).for_each(|piece| reader.push(piece));
        reader.usage().prompt_tokens
    }

    #[test]
    fn only_the_top_level_key_counts() {
        let usage = r#"{"prompt_tokens":5}"#;
        for (document, tokens) in [
            (format!(r#"{{"usage":{usage}}}"#), Some(5)),
            (format!(r#" {{ "a" : [1,{{"usage":1}}] , "usage" : {usage} , "b" : "}}" }}"#), Some(5)),
            (format!(r#"{{"a":"\"usage\":{{}}","usage":{usage}}}"#), Some(5)),
            (format!(r#"{{"a":"usage","usage":{usage},"usages":{{"prompt_tokens":6}}}}"#), Some(5)),
            (r#"{"usage":{"prompt_tokens":5,"a":["\\\"}",{}]}}"#.to_owned(), Some(5)),
            (format!(r#"{{"usage":null,"usag":{usage},"a":{{"usage":{usage}}}}}"#), None),
            (format!(r#"{{"a\"usage":{usage},"usage\\":{usage}}}"#), None),
            (format!(r#"[{{"usage":{usage}}}]"#), None),
            (format!(r#"{{"usage":{usage}"#), None),
        ] {
            for piece_bytes in [1, 2, 3, 7, usize::MAX] {
                assert_eq!(read(&document, piece_bytes), tokens, "{document} {piece_bytes}");
            }
        }
    }

    #[test]
    fn too_long_value_is_ignored() {
        let document = |len: usize| {
            let head = r#"{"prompt_tokens":5,"a":""#;
            format!(r#"{{"usage":{head}{}"}},"b":1}}"#, "x".repeat(len - head.len() - 2))
        };
        for (len, tokens) in [(MAX_VALUE_BYTES, Some(5)), (MAX_VALUE_BYTES + 1, None)] {
            for piece_bytes in [1, 100, MAX_VALUE_BYTES, usize::MAX] {
                assert_eq!(read(&document(len), piece_bytes), tokens, "{len} {piece_bytes}");
            }
        }
    }
}
