//! A stream of server-sent events, of which only those that tell the usage are looked into.

use memchr::memmem;

use crate::answer::usage::{Usage, of_event};

/// The longest line that is read. It bounds what a stream can make a reader keep.
const LINE_BYTES: usize = 65_536;

/// How much room a reader keeps for the next line.
const ROOM_BYTES: usize = 4_096;

/// Reads events that are split anywhere.
#[derive(Debug)]
pub(crate) struct Events {
    /// What a line must hold to be worth reading.
    key: &'static str,
    /// The line that is not at its end yet; nothing of it if it is too long.
    line: Vec<u8>,
    is_too_long: bool,
    usage: Usage,
}

impl Events {
    /// A reader of events that tell the usage under `key`.
    pub(crate) fn new(key: &'static str) -> Self {
        Self { key, line: Vec::new(), is_too_long: false, usage: Usage::default() }
    }

    /// What was said so far. The last line may lack its end.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.usage;
        usage.merge(said(self.key, &self.line));
        usage
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.end_line(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if self.is_too_long || self.line.len() + rest.len() > LINE_BYTES {
            self.is_too_long = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(rest);
        }
    }

    /// Reads the line that `end` ends.
    fn end_line(&mut self, end: &[u8]) {
        let is_too_long = std::mem::take(&mut self.is_too_long) || self.line.len() + end.len() > LINE_BYTES;
        let later = if is_too_long {
            Usage::default()
        } else if self.line.is_empty() {
            said(self.key, end)
        } else {
            self.line.extend_from_slice(end);
            said(self.key, &self.line)
        };
        self.usage.merge(later);
        self.line.clear();
        self.line.shrink_to(ROOM_BYTES);
    }
}

/// What a line says, which may end with a carriage return.
fn said(key: &str, line: &[u8]) -> Usage {
    match line.strip_prefix(b"data:") {
        Some(data) if memmem::find(data, key.as_bytes()).is_some() => of_event(data.trim_ascii()),
        _ => Usage::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &str, piece_bytes: usize) -> Usage {
        let mut events = Events::new("usage");
        stream.as_bytes().chunks(piece_bytes).for_each(|piece| events.push(piece));
        events.usage()
    }

    fn prompt(tokens: u64) -> Usage {
        Usage { prompt_tokens: Some(tokens), ..Usage::default() }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_however_it_comes() {
        let line = |len: usize| {
            let head = r#"data: {"usage":{"prompt_tokens":5},"a":""#;
            format!("{head}{}\"}}", "x".repeat(len - head.len() - 2))
        };
        for (len, usage) in [(LINE_BYTES, prompt(5)), (LINE_BYTES + 1, Usage::default())] {
            for stream in [line(len), format!("{}\n\n", line(len))] {
                for piece_bytes in [1, 1_000, LINE_BYTES, usize::MAX] {
                    assert_eq!(read(&stream, piece_bytes), usage, "{len} {piece_bytes}");
                }
            }
        }
    }

    #[test]
    fn a_long_line_hides_only_itself() {
        let stream = format!(
            "data: {}\n\ndata:{{\"usage\":{{\"prompt_tokens\":6}}}}\r\n\r\ndata: [DONE]\n",
            "x".repeat(3 * LINE_BYTES)
        );
        for piece_bytes in [7, 10_000, usize::MAX] {
            assert_eq!(read(&stream, piece_bytes), prompt(6));
        }
    }
}
