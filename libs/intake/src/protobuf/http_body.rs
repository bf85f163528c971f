//! Finds and edits the payload of a `google.api.HttpBody` in a gRPC message.
//!
//! Vertex AI's prediction service sends JSON this way: its responses are an `HttpBody`, and its requests
//! contain one.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use crate::byte_edits::{ByteEdits, apply_edits};
use crate::error::ParseError;
use crate::protobuf::fields::{FieldSpan, field_header, find_single_field};
use crate::protobuf::grpc_frame::{FRAME_HEADER_BYTES, single_message};

/// Field number both of the bytes in an `HttpBody` (`data`) and of the `HttpBody` in a request (`http_body`).
pub(crate) const FIELD_NUMBER: u32 = 2;

/// The type of the message around the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// `ChatCompletionsRequest`, `RawPredictRequest` or `StreamRawPredictRequest`, which contain an
    /// `HttpBody`.
    Request,
    /// An `HttpBody` itself.
    Response,
}

/// The data of an `HttpBody`, and where it is in the body.
pub(crate) struct Payload<'a> {
    body: &'a [u8],
    /// The fields around the data, from the outermost to the innermost.
    enclosing: SmallVec<[FieldSpan; 2]>,
}

impl<'a> Payload<'a> {
    /// Finds the payload of the only message in `body`, which must not be compressed. Returns `None` if the message has
    /// none.
    ///
    /// # Errors
    /// Returns [`ParseError::InvalidGrpcPayload`] if `body` is not one message of this type.
    pub(crate) fn find(body: &'a [u8], envelope: Envelope) -> Result<Option<Self>, ParseError> {
        single_message(body)?.ok_or(ParseError::InvalidGrpcPayload)?;
        let (mut enclosing, mut within) = (SmallVec::new(), FRAME_HEADER_BYTES..body.len());
        for _ in 0..envelope.depth() {
            let Some(field) = find_single_field(body, within, FIELD_NUMBER)? else { return Ok(None) };
            within = field.value.clone();
            enclosing.push(field);
        }
        Ok(Some(Self { body, enclosing }))
    }

    /// Returns the range of the payload in the body.
    pub(crate) fn range(&self) -> Range<usize> {
        self.enclosing.last().map_or(0..0, |field| field.value.clone())
    }

    fn contains(&self, span: &Range<usize>) -> bool {
        let own = self.range();
        own.start <= span.start && span.end <= own.end
    }

    /// Returns the body with these edits, which must lie within the payload, and with all lengths adjusted.
    pub(crate) fn with_edits(&self, mut edits: ByteEdits) -> bytes::Bytes {
        let removed: usize = edits.iter().map(|(range, _)| range.len()).sum();
        let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
        let mut len = self.range().len() + added - removed;
        for (depth, field) in self.enclosing.iter().enumerate().rev() {
            let around = match depth {
                0 => self.body.len() - FRAME_HEADER_BYTES,
                depth => self.enclosing[depth - 1].value.len(),
            };
            let header = field_header(FIELD_NUMBER, len);
            len += around - field.header.len() - field.value.len() + header.len();
            edits.push((field.header.clone(), header.into()));
        }
        // Bodies are limited far below the maximum of a 4-byte length.
        let frame_header = [&[0][..], &(len as u32).to_be_bytes()].concat();
        edits.push((0..FRAME_HEADER_BYTES, frame_header.into()));
        edits.sort_by_key(|(range, _)| range.start);
        apply_edits(self.body, &edits)
    }
}

impl Envelope {
    fn depth(self) -> usize {
        match self {
            Self::Request => 2,
            Self::Response => 1,
        }
    }
}

/// Returns the body of a request with `span` replaced by `text` and all lengths adjusted. Returns the body
/// unchanged if it is no such request or `span` is outside the payload.
pub(crate) fn replace_in_payload(body: &bytes::Bytes, span: Range<usize>, text: String) -> bytes::Bytes {
    match Payload::find(body, Envelope::Request) {
        Ok(Some(payload)) if payload.contains(&span) => payload.with_edits(smallvec![(span, text.into())]),
        _ => body.clone(),
    }
}
