//! Reads usage from an HTTP response that is carried in gRPC messages.

use crate::response::usage::event_stream::EventStreamReader;
use crate::response::usage::json_document::JsonDocumentReader;
use crate::response::usage::values::{USAGE_KEY, Usage};

/// Reads a response in OpenAI's format, which is either one document or a stream of events. A document starts
/// with a brace.
#[derive(Debug, Default)]
pub(crate) enum HttpBodyReader {
    #[default]
    Undetected,
    EventStream(Box<EventStreamReader>),
    JsonDocument(Box<JsonDocumentReader>),
}

impl HttpBodyReader {
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        if let Self::Undetected = self {
            // Leading whitespace is ignored, however the response is split.
            piece = piece.trim_ascii_start();
            match piece.first() {
                None => return,
                Some(b'{') => *self = Self::JsonDocument(Box::new(JsonDocumentReader::new(USAGE_KEY))),
                Some(_) => *self = Self::EventStream(Box::new(EventStreamReader::new(USAGE_KEY))),
            }
        }
        match self {
            Self::Undetected => {}
            Self::EventStream(events) => events.push(piece),
            Self::JsonDocument(document) => document.push(piece),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Undetected => Usage::default(),
            Self::EventStream(events) => events.usage(),
            Self::JsonDocument(document) => document.usage(),
        }
    }
}
