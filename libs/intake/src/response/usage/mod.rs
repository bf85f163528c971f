//! Reads the usage that a response reports.

mod event_stream;
mod grpc_messages;
mod http_body;
mod json_document;
mod values;

pub use values::Usage;

use event_stream::EventStreamReader;
use grpc_messages::{GrpcMessageReader, MessageType};
use json_document::JsonDocumentReader;

use crate::api::Api;
use crate::response::format::ResponseFormat;

/// Reads the usage from a response that arrives in pieces.
#[derive(Debug)]
pub struct UsageReader {
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    EventStream(Box<EventStreamReader>),
    JsonDocument(JsonDocumentReader),
    GrpcMessages(GrpcMessageReader),
    None,
}

impl UsageReader {
    /// Returns a reader of the response to a request of `api`. It reads nothing if the API has no responses
    /// of this format.
    pub fn new(api: Api, format: ResponseFormat) -> Self {
        let decoder = match (format, api) {
            (ResponseFormat::Grpc, Api::VllmGrpcGenerate) => {
                Decoder::GrpcMessages(GrpcMessageReader::new(MessageType::Generate))
            }
            (ResponseFormat::Grpc, Api::VllmGrpcEmbed) => {
                Decoder::GrpcMessages(GrpcMessageReader::new(MessageType::Embed))
            }
            (ResponseFormat::Grpc, Api::VertexChat | Api::VertexPredict) => {
                Decoder::GrpcMessages(GrpcMessageReader::new(MessageType::HttpBody))
            }
            (ResponseFormat::Unread | ResponseFormat::Grpc, _) => Decoder::None,
            (_, api) if api == Api::Opaque || api.is_grpc() => Decoder::None,
            (ResponseFormat::EventStream, api) => {
                Decoder::EventStream(Box::new(EventStreamReader::new(values::usage_key(api))))
            }
            (ResponseFormat::Json, api) => {
                Decoder::JsonDocument(JsonDocumentReader::new(values::usage_key(api)))
            }
        };
        Self { decoder }
    }

    /// Reads the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.decoder {
            Decoder::EventStream(events) => events.push(piece),
            Decoder::JsonDocument(document) => document.push(piece),
            Decoder::GrpcMessages(frames) => frames.push(piece),
            Decoder::None => {}
        }
    }

    /// Returns the usage reported so far, or `None` if there is none.
    pub fn usage(&self) -> Option<Usage> {
        let usage = match &self.decoder {
            Decoder::EventStream(events) => events.usage(),
            Decoder::JsonDocument(document) => document.usage(),
            Decoder::GrpcMessages(frames) => frames.usage(),
            Decoder::None => Usage::default(),
        };
        (usage != Usage::default()).then_some(usage)
    }
}
