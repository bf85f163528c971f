//! Restores the requested model name in responses.

mod grpc;
mod text;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::api::Api;
use crate::response::format::ResponseFormat;
use grpc::GrpcRenamer;
use text::TextRenamer;

/// Replaces each `"model":"<target>"` in a response by the same with another name. One space may follow the
/// colon.
#[derive(Debug)]
pub struct ModelRenamer(Encoding);

#[derive(Debug)]
enum Encoding {
    Text(TextRenamer),
    Grpc(GrpcRenamer),
}

impl ModelRenamer {
    /// Returns a renamer that replaces the name `target` by `requested` in responses of this format to
    /// requests of `api`. Returns `None` if such responses contain no name or are not read.
    pub fn new(api: Api, format: ResponseFormat, target: &str, requested: &str) -> Option<Self> {
        let text_renamer = || TextRenamer::new(target, requested);
        Some(Self(match (format, api) {
            (ResponseFormat::Grpc, Api::VertexChat | Api::VertexPredict) => {
                Encoding::Grpc(GrpcRenamer::new(text_renamer()))
            }
            (ResponseFormat::Grpc | ResponseFormat::Unread, _) => return None,
            (ResponseFormat::EventStream | ResponseFormat::Json, _) => Encoding::Text(text_renamer()),
        }))
    }

    /// Takes the next piece of the body and returns the pieces to pass on, in order.
    ///
    /// Of text, at most the start of a match is held back; of gRPC, at most one message, up to a limit.
    /// Nothing of the last piece is held back.
    pub fn push(&mut self, piece: Bytes, is_last: bool) -> SmallVec<[Bytes; 3]> {
        match &mut self.0 {
            Encoding::Text(renamer) => renamer.push(piece, is_last),
            Encoding::Grpc(renamer) => renamer.push(piece, is_last),
        }
    }
}
