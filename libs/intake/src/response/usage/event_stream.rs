//! Reads usage from a stream of server-sent events.
//!
//! Only lines that contain the key of the usage are parsed.

use memchr::memmem;

use crate::response::usage::values::{Usage, parse_event};

/// Maximum length of a parsed line. It bounds the memory that a stream costs.
const MAX_LINE_BYTES: usize = 65_536;

/// Capacity that is retained for the next line.
const RETAINED_LINE_BYTES: usize = 4_096;

/// Reads events from pieces of any size.
#[derive(Debug)]
pub(crate) struct EventStreamReader {
    /// A line must contain this key to be parsed.
    key: &'static str,
    /// The start of an incomplete line. Empty if the line is too long.
    line: Vec<u8>,
    is_too_long: bool,
    usage: Usage,
}

impl EventStreamReader {
    /// Returns a reader of events that report the usage under `key`.
    pub(crate) fn new(key: &'static str) -> Self {
        Self { key, line: Vec::new(), is_too_long: false, usage: Usage::default() }
    }

    /// Returns the usage so far. The last line may be unterminated.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.usage;
        usage.merge(usage_of_line(self.key, &self.line));
        usage
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.end_line(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if self.is_too_long || self.line.len() + rest.len() > MAX_LINE_BYTES {
            self.is_too_long = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(rest);
        }
    }

    /// Parses the line that ends with `end`.
    fn end_line(&mut self, end: &[u8]) {
        let is_too_long =
            std::mem::take(&mut self.is_too_long) || self.line.len() + end.len() > MAX_LINE_BYTES;
        let later = if is_too_long {
            Usage::default()
        } else if self.line.is_empty() {
            usage_of_line(self.key, end)
        } else {
            self.line.extend_from_slice(end);
            usage_of_line(self.key, &self.line)
        };
        self.usage.merge(later);
        self.line.clear();
        self.line.shrink_to(RETAINED_LINE_BYTES);
    }
}

/// Returns the usage in a line, which may end with a carriage return.
fn usage_of_line(key: &str, line: &[u8]) -> Usage {
    match line.strip_prefix(b"data:") {
        Some(data) if memmem::find(data, key.as_bytes()).is_some() => parse_event(data.trim_ascii()),
        _ => Usage::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &str, piece_bytes: usize) -> Usage {
        let mut events = EventStreamReader::new("usage");
        stream.as_bytes().chunks(piece_bytes).for_each(|piece| events.push(piece));
        events.usage()
    }

    fn prompt(tokens: u64) -> Usage {
        Usage { prompt_tokens: Some(tokens), ..Usage::default() }
    }

    #[test]
    fn line_limit_does_not_depend_on_the_split() {
        let line = |len: usize| {
            let head = r#"data: {"usage":{"prompt_tokens":5},"a":""#;
            format!("{head}{}\"}}", "x".repeat(len - head.len() - 2))
        };
        for (len, usage) in [(MAX_LINE_BYTES, prompt(5)), (MAX_LINE_BYTES + 1, Usage::default())] {
            for stream in [line(len), format!("{}\n\n", line(len))] {
                for piece_bytes in [1, 1_000, MAX_LINE_BYTES, usize::MAX] {
                    assert_eq!(read(&stream, piece_bytes), usage, "{len} {piece_bytes}");
                }
            }
        }
    }

    #[test]
    fn too_long_line_does_not_affect_the_next_one() {
        let stream = format!(
            "data: {}\n\ndata:{{\"usage\":{{\"prompt_tokens\":6}}}}\r\n\r\ndata: [DONE]\n",
            "x".repeat(3 * MAX_LINE_BYTES)
        );
        for piece_bytes in [7, 10_000, usize::MAX] {
            assert_eq!(read(&stream, piece_bytes), prompt(6));
        }
    }
}
