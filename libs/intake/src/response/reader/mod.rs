//! Reads what a response shows while it passes: its first output, an error that it reports, and its usage.

mod event_stream;
mod grpc_messages;
mod http_body;
mod json_document;
mod json_scan;

use event_stream::EventStreamReader;
use grpc_messages::{GrpcMessageReader, MessageType};
use json_document::JsonDocumentReader;

use signalbox_types::ResponseKey;

use crate::api::Api;
use crate::response::error::ResponseError;
use crate::response::format::ResponseFormat;
use crate::response::usage::{Usage, usage_key};

/// How the first output of a response arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// In an event or a message of a stream: the prompt was processed shortly before.
    Event,
    /// In a document that holds all of the output: the prompt was processed some time before.
    Document,
}

/// Reads a response that arrives in pieces.
///
/// Output is text, reasoning, a refusal, a tool call, audio or token ids that the model generated. What comes
/// before is none: comments, pings, roles, the announcement of a response, of a message or of its content,
/// and usage alone. Nor is an error, after which no output counts. An event of more than 64 KiB is searched
/// for usage and errors only.
#[derive(Debug)]
pub struct ResponseReader {
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    EventStream(Box<EventStreamReader>),
    JsonDocument(Box<JsonDocumentReader>),
    GrpcMessages(Box<GrpcMessageReader>),
}

impl ResponseReader {
    /// Returns a reader of the response to a request of `api`, or `None` if responses of this format to such
    /// requests cannot be read.
    pub fn new(api: Api, format: ResponseFormat) -> Option<Self> {
        let messages = |message_type| Decoder::GrpcMessages(Box::new(GrpcMessageReader::new(message_type)));
        let decoder = match (format, api) {
            (ResponseFormat::Grpc, Api::VllmGrpcGenerate) => messages(MessageType::Generate),
            (ResponseFormat::Grpc, Api::VllmGrpcEmbed) => messages(MessageType::Embed),
            (ResponseFormat::Grpc, Api::VertexChat | Api::VertexPredict) => messages(MessageType::HttpBody),
            (ResponseFormat::Unread | ResponseFormat::Grpc, _) => return None,
            (_, Api::Opaque | Api::ModelJson | Api::ModelForm) => return None,
            (_, api) if api.is_grpc() => return None,
            (ResponseFormat::EventStream, api) => {
                Decoder::EventStream(Box::new(EventStreamReader::new(usage_key(api))))
            }
            (ResponseFormat::Json, _) => Decoder::JsonDocument(Box::default()),
        };
        Some(Self { decoder })
    }

    /// Makes the reader look at every event of a stream, for [`Self::outputs`]: after the first output, it otherwise looks only
    /// for usage and errors.
    #[must_use]
    pub fn reading_every_event(mut self) -> Self {
        if let Decoder::EventStream(events) = &mut self.decoder {
            events.read_every_event();
        }
        self
    }

    /// Returns how many events with output a stream has had, if it is read by [`Self::reading_every_event`].
    pub fn outputs(&self) -> u64 {
        match &self.decoder {
            Decoder::EventStream(events) => events.outputs(),
            Decoder::JsonDocument(_) | Decoder::GrpcMessages(_) => 0,
        }
    }

    /// Returns whether a stream of events has said that it is complete: with `[DONE]`, as OpenAI's completions and chats do.
    pub fn is_done(&self) -> bool {
        matches!(&self.decoder, Decoder::EventStream(events) if events.is_done())
    }

    /// Reads the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.decoder {
            Decoder::EventStream(events) => events.push(piece),
            Decoder::JsonDocument(document) => document.push(piece),
            Decoder::GrpcMessages(frames) => frames.push(piece),
        }
    }

    /// Ends the body. Only then is a document known to be complete, and the last event, which may lack its
    /// end of line.
    pub fn end(&mut self) {
        match &mut self.decoder {
            Decoder::EventStream(events) => events.end(),
            Decoder::JsonDocument(document) => document.end(),
            Decoder::GrpcMessages(frames) => frames.end(),
        }
    }

    /// Returns how the first output arrived, or `None` if there is none so far.
    pub fn output(&self) -> Option<OutputForm> {
        match &self.decoder {
            Decoder::EventStream(events) => events.output(),
            Decoder::JsonDocument(document) => document.output(),
            Decoder::GrpcMessages(frames) => frames.output(),
        }
    }

    /// Returns the first error that the body reports, before or after output.
    pub fn error(&self) -> Option<ResponseError> {
        match &self.decoder {
            Decoder::EventStream(events) => events.error(),
            Decoder::JsonDocument(document) => document.error(),
            Decoder::GrpcMessages(frames) => frames.error(),
        }
    }

    /// Returns the response that the body is about, as soon as the body has told its id. Only OpenAI's responses have one
    /// that later requests can name.
    pub fn response(&self) -> Option<ResponseKey> {
        match &self.decoder {
            Decoder::EventStream(events) => events.response(),
            Decoder::JsonDocument(document) => document.response(),
            Decoder::GrpcMessages(_) => None,
        }
    }

    /// Returns the usage reported so far, or `None` if there is none.
    pub fn usage(&self) -> Option<Usage> {
        let usage = match &self.decoder {
            Decoder::EventStream(events) => events.usage(),
            Decoder::JsonDocument(document) => document.usage(),
            Decoder::GrpcMessages(frames) => frames.usage(),
        };
        (usage != Usage::default()).then_some(usage)
    }
}
