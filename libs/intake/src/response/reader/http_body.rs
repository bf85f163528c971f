//! Reads an HTTP response that is carried in gRPC messages.

use crate::response::error::ResponseError;
use crate::response::reader::OutputForm;
use crate::response::reader::event_stream::EventStreamReader;
use crate::response::reader::json_document::JsonDocumentReader;
use crate::response::usage::{USAGE_KEY, Usage};

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
                Some(b'{') => *self = Self::JsonDocument(Box::default()),
                Some(_) => *self = Self::EventStream(Box::new(EventStreamReader::new(USAGE_KEY))),
            }
        }
        match self {
            Self::Undetected => {}
            Self::EventStream(events) => events.push(piece),
            Self::JsonDocument(document) => document.push(piece),
        }
    }

    pub(crate) fn end(&mut self) {
        match self {
            Self::Undetected => {}
            Self::EventStream(events) => events.end(),
            Self::JsonDocument(document) => document.end(),
        }
    }

    pub(crate) fn output(&self) -> Option<OutputForm> {
        match self {
            Self::Undetected => None,
            Self::EventStream(events) => events.output(),
            Self::JsonDocument(document) => document.output(),
        }
    }

    pub(crate) fn error(&self) -> Option<ResponseError> {
        match self {
            Self::Undetected => None,
            Self::EventStream(events) => events.error(),
            Self::JsonDocument(document) => document.error(),
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
