//! Decodes compressed bodies, within a limit.

use std::io::Read;

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;
use smallvec::SmallVec;

/// Bytes that are decoded at once.
const STEP_BYTES: usize = 16 << 10;

/// The largest window of Zstandard that receivers should support
/// ([RFC 9659](https://www.rfc-editor.org/rfc/rfc9659#section-3)).
const ZSTD_WINDOW_BYTES: u64 = 8 << 20;

/// Maximum number of encodings of one body. Each costs a copy of it.
const MAX_ENCODINGS: usize = 4;

/// A way to compress a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    /// Zlib, or DEFLATE alone, which some clients send by this name.
    Deflate,
    Brotli,
    Zstd,
}

/// The encodings of a body, in the order in which they were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentEncodings(SmallVec<[Encoding; 1]>);

/// A header names an encoding that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown content encoding")]
pub struct UnknownEncoding;

/// Why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The decoded body is longer than the limit.
    #[error("the decoded body is too long")]
    TooLong,
    /// There is no memory for the decoded body.
    #[error("no room for the decoded body")]
    NoRoom,
    /// The body is not what its encoding says, or is truncated.
    #[error("invalid request body: it is not valid {encoding}: {reason}")]
    Invalid {
        /// Name of the encoding.
        encoding: &'static str,
        /// What the decoder reports.
        reason: String,
    },
}

impl ContentEncodings {
    /// Parses the value of the header `content-encoding`.
    ///
    /// # Errors
    /// Returns [`UnknownEncoding`] if an encoding is not known, or if there are too many.
    pub fn parse(header: &str) -> Result<Self, UnknownEncoding> {
        let mut encodings = SmallVec::new();
        for name in header.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            encodings.push(match name.as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Encoding::Gzip,
                "deflate" => Encoding::Deflate,
                "br" => Encoding::Brotli,
                "zstd" => Encoding::Zstd,
                _ => return Err(UnknownEncoding),
            });
        }
        if encodings.len() > MAX_ENCODINGS { Err(UnknownEncoding) } else { Ok(Self(encodings)) }
    }

    /// Returns whether the body is as it was before all encodings.
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }

    /// Decodes `body`, to at most `limit_bytes`. `reserve` is asked for memory before it is taken, in bytes, and returns
    /// whether there is any.
    ///
    /// # Errors
    /// Returns [`DecodeError`].
    pub fn decode(
        &self,
        body: &Bytes,
        limit_bytes: usize,
        reserve: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Bytes, DecodeError> {
        let mut decoded = body.clone();
        for encoding in self.0.iter().rev() {
            let mut output = Output { bytes: Vec::new(), limit_bytes, reserve };
            encoding.decode(&decoded, &mut output)?;
            decoded = output.bytes.into();
        }
        Ok(decoded)
    }
}

/// A decoded body that grows.
struct Output<'a> {
    bytes: Vec<u8>,
    limit_bytes: usize,
    reserve: &'a mut dyn FnMut(usize) -> bool,
}

impl Output<'_> {
    fn push(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        let len = self.bytes.len() + piece.len();
        if len > self.limit_bytes {
            return Err(DecodeError::TooLong);
        }
        let capacity = self.bytes.capacity();
        if len > capacity {
            let more = len.max(capacity.saturating_mul(2)).min(self.limit_bytes) - capacity;
            if !(self.reserve)(more) {
                return Err(DecodeError::NoRoom);
            }
            self.bytes.reserve_exact(capacity + more - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn decode(self, body: &[u8], output: &mut Output<'_>) -> Result<(), DecodeError> {
        match self {
            Self::Gzip => self.read(&mut MultiGzDecoder::new(body), output),
            Self::Deflate if has_zlib_header(body) => self.read(&mut ZlibDecoder::new(body), output),
            Self::Deflate => self.read(&mut DeflateDecoder::new(body), output),
            Self::Brotli => self.read(&mut Decompressor::new(body, STEP_BYTES), output),
            Self::Zstd => self.decode_frames(body, output),
        }
    }

    /// Decodes all frames of Zstandard in `body`.
    fn decode_frames(self, mut body: &[u8], output: &mut Output<'_>) -> Result<(), DecodeError> {
        // The window of a frame in one segment is as long as its content.
        let window_bytes = ZSTD_WINDOW_BYTES.max(output.limit_bytes as u64);
        loop {
            let mut frame = StreamingDecoder::new_with_max_window_size(&mut body, window_bytes)
                .map_err(|error| self.invalid(&error))?;
            self.read(&mut frame, output)?;
            if body.is_empty() {
                return Ok(());
            }
        }
    }

    fn read(self, decoder: &mut dyn Read, output: &mut Output<'_>) -> Result<(), DecodeError> {
        let mut step = [0; STEP_BYTES];
        loop {
            match decoder.read(&mut step).map_err(|error| self.invalid(&error))? {
                0 => return Ok(()),
                len => output.push(&step[..len])?,
            }
        }
    }

    fn invalid(self, reason: &dyn std::fmt::Display) -> DecodeError {
        DecodeError::Invalid { encoding: self.name(), reason: reason.to_string() }
    }
}

/// Returns whether `body` begins like zlib ([RFC 1950, section 2.2](https://www.rfc-editor.org/rfc/rfc1950#page-5)).
fn has_zlib_header(body: &[u8]) -> bool {
    let Some([method, flags]) = body.first_chunk::<2>() else { return false };
    method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0
}
