//! A message body in pieces of a bounded size, the last one marked.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// The largest piece in one ext-proc message: what the protocol recommends for full duplex mode, with room for
/// the message around it.
pub(super) const PIECE_BYTES: usize = 62_000;

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// At most [`PIECE_BYTES`]; may be empty when it is the last one.
    pub(super) bytes: Bytes,
    /// Whether the body ends with this piece.
    pub(super) ends: bool,
}

/// A body being read. Trailers are dropped.
pub(super) struct Chunks {
    body: Incoming,
    rest: Bytes,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There is no body.
    Absent,
    Untouched,
    Begun,
    Ended,
}

impl Chunks {
    /// Reads `body`.
    pub(super) fn new(body: Incoming) -> Self {
        let progress = if body.is_end_stream() { Progress::Absent } else { Progress::Untouched };
        Self { body, rest: Bytes::new(), progress }
    }

    /// Whether the message ends at its headers.
    pub(super) fn is_absent(&self) -> bool {
        self.progress == Progress::Absent
    }

    /// Whether nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.progress, Progress::Absent | Progress::Ended)
    }

    /// Whether a piece was taken out, so that the body cannot be sent again to somebody else.
    pub(super) fn is_consumed(&self) -> bool {
        matches!(self.progress, Progress::Begun | Progress::Ended)
    }

    /// The next piece; only to be called while the body has not ended. Nothing is lost when the returned
    /// future is dropped before it is ready.
    ///
    /// # Errors
    /// When the connection broke or the sender's framing was wrong.
    pub(super) async fn next(&mut self) -> Result<Piece, hyper::Error> {
        while self.rest.is_empty() {
            match self.body.frame().await.transpose()? {
                Some(frame) => self.rest = frame.into_data().unwrap_or_default(),
                None => {
                    self.progress = Progress::Ended;
                    return Ok(Piece { bytes: Bytes::new(), ends: true });
                }
            }
        }
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let ends = self.rest.is_empty() && self.body.is_end_stream();
        self.progress = if ends { Progress::Ended } else { Progress::Begun };
        Ok(Piece { bytes, ends })
    }
}
