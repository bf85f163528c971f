//! Reads a stream of server-sent events.
//!
//! Every event is parsed until the first output or error. From then on, only lines that contain the key of
//! the usage are, and lines that begin like an error.

use memchr::memmem;
use signalbox_types::ResponseKey;

use crate::response::error::ResponseError;
use crate::response::event::{Event, EventContent, parse_event};
use crate::response::reader::OutputForm;
use crate::response::reader::json_scan::JsonScan;
use crate::response::usage::{Usage, UsageParts};

/// Maximum length of a buffered line. It bounds the memory that a stream costs.
const MAX_LINE_BYTES: usize = 65_536;

/// Capacity that is retained for the next line.
const RETAINED_LINE_BYTES: usize = 4_096;

const DATA: &[u8] = b"data:";

/// Data of the last event of OpenAI's streams.
const DONE: &[u8] = b"[DONE]";

/// How the data of errors begins, as far as their `event:` line does not tell.
const ERROR_STARTS: [&[u8]; 2] = [b"{\"error\"", b"{\"type\":\"error\""];

/// Reads events from pieces of any size.
#[derive(Debug)]
pub(crate) struct EventStreamReader {
    /// After the first output, a line must contain this key to be parsed.
    key: &'static str,
    /// The start of an incomplete line. Empty if the line is too long to be buffered.
    line: Vec<u8>,
    /// The line if it is too long to be buffered.
    long_line: Option<LongLine>,
    /// Whether the current event was announced as an error.
    is_error_event: bool,
    /// Whether every event is parsed, also after the first output.
    reads_every_event: bool,
    /// Parsed events with output.
    outputs: u64,
    is_done: bool,
    error: Option<ResponseError>,
    usage: UsageParts,
    response: Option<ResponseKey>,
}

/// A line that is read without being buffered.
#[derive(Debug)]
enum LongLine {
    Data(Box<JsonScan>),
    Other,
}

impl LongLine {
    /// Begins a line with `start` and `end`, which together are long enough to tell what it is.
    fn new(start: &[u8], end: &[u8]) -> Self {
        let mut head = start.iter().chain(end).copied();
        if !DATA.iter().all(|byte| head.next() == Some(*byte)) {
            return Self::Other;
        }
        let mut line = Self::Data(Box::default());
        line.push(start.get(DATA.len()..).unwrap_or_default());
        line.push(end.get(DATA.len().saturating_sub(start.len())..).unwrap_or_default());
        line
    }

    fn push(&mut self, piece: &[u8]) {
        if let Self::Data(scan) = self {
            scan.push(piece);
        }
    }

    fn event(&self) -> Event {
        let Self::Data(scan) = self else { return Event::default() };
        let (usage, error) = scan.event();
        let content = error.map_or(EventContent::Other, EventContent::Error);
        Event { usage, content, response: scan.event_response() }
    }
}

impl EventStreamReader {
    /// Returns a reader of events that report the usage under `key`.
    pub(crate) fn new(key: &'static str) -> Self {
        Self {
            key,
            line: Vec::new(),
            long_line: None,
            is_error_event: false,
            reads_every_event: false,
            outputs: 0,
            is_done: false,
            error: None,
            usage: UsageParts::default(),
            response: None,
        }
    }

    pub(crate) fn output(&self) -> Option<OutputForm> {
        (self.outputs > 0).then_some(OutputForm::Event)
    }

    /// Parses every event from now on.
    pub(crate) fn read_every_event(&mut self) {
        self.reads_every_event = true;
    }

    /// Returns the number of parsed events with output.
    pub(crate) fn outputs(&self) -> u64 {
        self.outputs
    }

    /// Returns whether the stream said that it is complete, as OpenAI's streams do.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(crate) fn error(&self) -> Option<ResponseError> {
        self.error
    }

    /// Returns the usage so far. The last line may be unterminated.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.usage;
        usage.merge(match &self.long_line {
            Some(line) => line.event().usage,
            None => {
                let data = data_of(&self.line).filter(|data| self.needs_parsing(data));
                data.map(|data| parse_event(data).usage).unwrap_or_default()
            }
        });
        usage.total()
    }

    /// Returns the response that the events are about, if one of them told.
    pub(crate) fn response(&self) -> Option<ResponseKey> {
        self.response
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.end_line(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if let Some(line) = &mut self.long_line {
            line.push(rest);
        } else if self.line.len() + rest.len() > MAX_LINE_BYTES {
            self.long_line = Some(LongLine::new(&std::mem::take(&mut self.line), rest));
        } else {
            self.line.extend_from_slice(rest);
        }
    }

    /// Ends the stream, and with it a line that has begun.
    pub(crate) fn end(&mut self) {
        if self.long_line.is_some() || !self.line.is_empty() {
            self.end_line(&[]);
        }
    }

    /// Reads the line that ends with `end`.
    fn end_line(&mut self, end: &[u8]) {
        if self.long_line.is_none() && self.line.len() + end.len() > MAX_LINE_BYTES {
            self.long_line = Some(LongLine::new(&std::mem::take(&mut self.line), end));
        } else if let Some(line) = &mut self.long_line {
            line.push(end);
        }
        if let Some(line) = self.long_line.take() {
            self.add(line.event());
        } else if self.line.is_empty() {
            self.on_line(end);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(end);
            self.on_line(&line);
            line.clear();
            line.shrink_to(RETAINED_LINE_BYTES);
            self.line = line;
        }
    }

    /// Reads a line, which may end with a carriage return.
    fn on_line(&mut self, line: &[u8]) {
        if let Some(data) = data_of(line) {
            self.is_done |= data == DONE;
            if self.needs_parsing(data) {
                self.add(parse_event(data));
            }
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.is_error_event = name.trim_ascii() == b"error";
        } else if line.trim_ascii().is_empty() {
            self.is_error_event = false;
        }
    }

    fn needs_parsing(&self, data: &[u8]) -> bool {
        let is_undecided = self.reads_every_event || self.outputs == 0 && self.error.is_none();
        let begins_like_error =
            || self.is_error_event || ERROR_STARTS.iter().any(|start| data.starts_with(start));
        is_undecided
            || memmem::find(data, self.key.as_bytes()).is_some()
            || self.error.is_none() && begins_like_error()
    }

    fn add(&mut self, event: Event) {
        self.usage.merge(event.usage);
        self.response = self.response.or(event.response);
        match event.content {
            _ if self.error.is_some() => {}
            EventContent::Error(error) => self.error = Some(error),
            _ if self.is_error_event => self.error = Some(ResponseError { status: None }),
            EventContent::Output => self.outputs += 1,
            EventContent::Other => {}
        }
    }
}

/// Returns the data in a line, if it has any.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(DATA).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
