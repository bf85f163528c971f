//! Reads a message body in chunks of bounded size and marks the last one.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// Largest chunk in one ext-proc message: the limit that the protocol recommends for full duplex mode, minus
/// room for the rest of the message.
pub(super) const MAX_CHUNK_BYTES: usize = 62_000;

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// At most [`MAX_CHUNK_BYTES`]. Only the last chunk can be empty.
    pub(super) bytes: Bytes,
    /// Whether the body ends with this chunk.
    pub(super) is_last: bool,
}

/// Reads a body. Trailers are dropped.
pub(super) struct BodyReader {
    body: Incoming,
    rest: Bytes,
    state: ReadState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// There is no body.
    NoBody,
    NotStarted,
    Started,
    Ended,
}

impl BodyReader {
    /// Creates a reader for `body`.
    pub(super) fn new(body: Incoming) -> Self {
        let state = if body.is_end_stream() { ReadState::NoBody } else { ReadState::NotStarted };
        Self { body, rest: Bytes::new(), state }
    }

    /// Returns whether the message has no body.
    pub(super) fn is_empty(&self) -> bool {
        self.state == ReadState::NoBody
    }

    /// Returns whether the last chunk was read.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, ReadState::NoBody | ReadState::Ended)
    }

    /// Returns whether a chunk was read. Then the body cannot be sent to another picker any more.
    pub(super) fn is_started(&self) -> bool {
        matches!(self.state, ReadState::Started | ReadState::Ended)
    }

    /// Returns the next chunk. Must not be called after the last chunk. Cancel safe: dropping the future
    /// loses no data.
    ///
    /// # Errors
    /// When the connection breaks or the framing is invalid.
    pub(super) async fn next(&mut self) -> Result<Chunk, hyper::Error> {
        while self.rest.is_empty() {
            match self.body.frame().await.transpose()? {
                Some(frame) => self.rest = frame.into_data().unwrap_or_default(),
                None => {
                    self.state = ReadState::Ended;
                    return Ok(Chunk { bytes: Bytes::new(), is_last: true });
                }
            }
        }
        let bytes = self.rest.split_to(self.rest.len().min(MAX_CHUNK_BYTES));
        let is_last = self.rest.is_empty() && self.body.is_end_stream();
        self.state = if is_last { ReadState::Ended } else { ReadState::Started };
        Ok(Chunk { bytes, is_last })
    }
}
