//! One JSON document, of which one value is looked at as it passes.

use memchr::memchr2;

use crate::answer::usage::{Usage, of_value};

/// The longest value that is read. It bounds what a document can make a reader keep.
const VALUE_BYTES: usize = 16_384;

/// Reads the value of a top-level key of a document that is split anywhere. It follows strings and brackets and
/// takes it for granted that they make JSON; of anything else it makes something or nothing.
#[derive(Debug)]
pub(crate) struct Document {
    key: &'static [u8],
    /// How many brackets are open.
    level: usize,
    place: Place,
    capture: Capture,
    /// The value so far.
    value: Vec<u8>,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a key, or before what follows it.
    Outside(Next),
    /// In a key of the outermost object, of which so many bytes are those of the one looked for.
    Key(Option<usize>),
    /// In another string.
    Text,
    /// After a backslash in a string, the same for keys: no key that is looked for has one.
    Escape(Next),
}

/// What a string would be where one began now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    Off,
    /// The key was there, its value is to come.
    Armed,
    On,
}

impl Document {
    /// A reader of the document's usage, which stands under `key`.
    pub(crate) fn new(key: &'static str) -> Self {
        Self {
            key: key.as_bytes(),
            level: 0,
            place: Place::Outside(Next::Value),
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
            if self.place == Place::Text {
                let len = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.keep(&rest[..len]);
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
        match self.place {
            Place::Outside(next) => self.outside(byte, next),
            Place::Key(matched) => self.in_key(byte, matched),
            Place::Text => {
                self.keep(&[byte]);
                match byte {
                    b'"' => self.place = Place::Outside(Next::Value),
                    b'\\' => self.place = Place::Escape(Next::Value),
                    _ => {}
                }
            }
            Place::Escape(Next::Key) => self.place = Place::Key(None),
            Place::Escape(Next::Value) => {
                self.keep(&[byte]);
                self.place = Place::Text;
            }
        }
    }

    fn outside(&mut self, byte: u8, next: Next) {
        // The value is over where something follows it in the outermost object.
        if self.level == 1 && matches!(byte, b',' | b'}' | b']') {
            self.end_value();
        }
        self.keep(&[byte]);
        match byte {
            b'"' if self.level == 1 && next == Next::Key => self.place = Place::Key(Some(0)),
            b'"' => self.place = Place::Text,
            b'{' | b'[' => {
                self.level += 1;
                let is_object = self.level == 1 && byte == b'{';
                self.place = Place::Outside(if is_object { Next::Key } else { Next::Value });
            }
            b'}' | b']' => self.level = self.level.saturating_sub(1),
            b',' if self.level == 1 => self.place = Place::Outside(Next::Key),
            b':' if self.level == 1 => {
                self.place = Place::Outside(Next::Value);
                if self.capture == Capture::Armed {
                    self.capture = Capture::On;
                }
            }
            _ => {}
        }
    }

    fn in_key(&mut self, byte: u8, matched: Option<usize>) {
        self.place = match byte {
            b'\\' => Place::Escape(Next::Key),
            b'"' => {
                let is_found = matched == Some(self.key.len());
                self.capture = if is_found { Capture::Armed } else { Capture::Off };
                Place::Outside(Next::Value)
            }
            _ => {
                let is_next = |at: &usize| self.key.get(*at) == Some(&byte);
                Place::Key(matched.filter(is_next).map(|at| at + 1))
            }
        };
    }

    /// Takes bytes of the value, if they are of the one looked for.
    fn keep(&mut self, bytes: &[u8]) {
        if self.capture != Capture::On {
            return;
        }
        if self.value.len() + bytes.len() > VALUE_BYTES {
            self.capture = Capture::Off;
            self.value = Vec::new();
        } else {
            self.value.extend_from_slice(bytes);
        }
    }

    fn end_value(&mut self) {
        if self.capture == Capture::On {
            self.usage.merge(of_value(&self.value));
        }
        self.capture = Capture::Off;
        self.value = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str, piece_bytes: usize) -> Option<u64> {
        let mut reader = Document::new("usage");
        document.as_bytes().chunks(piece_bytes).for_each(|piece| reader.push(piece));
        reader.usage().prompt_tokens
    }

    #[test]
    fn only_the_key_of_the_outermost_object_counts() {
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
    fn a_value_that_is_too_long_is_not_read() {
        let document = |len: usize| {
            let head = r#"{"prompt_tokens":5,"a":""#;
            format!(r#"{{"usage":{head}{}"}},"b":1}}"#, "x".repeat(len - head.len() - 2))
        };
        for (len, tokens) in [(VALUE_BYTES, Some(5)), (VALUE_BYTES + 1, None)] {
            for piece_bytes in [1, 100, VALUE_BYTES, usize::MAX] {
                assert_eq!(read(&document(len), piece_bytes), tokens, "{len} {piece_bytes}");
            }
        }
    }
}
