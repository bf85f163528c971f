//! Reads the framing of gRPC messages.

use crate::error::ParseError;

/// Length of the header before each message in bytes: a compression flag and the length of the message.
pub(crate) const FRAME_HEADER_BYTES: usize = 5;

/// Returns the only message of a gRPC body.
///
/// # Errors
/// Returns [`ParseError::InvalidGrpcPayload`] if the message is compressed, truncated, or not the only one.
pub(crate) fn single_message(body: &[u8]) -> Result<&[u8], ParseError> {
    let (header, message) =
        body.split_first_chunk::<FRAME_HEADER_BYTES>().ok_or(ParseError::InvalidGrpcPayload)?;
    let [0, len @ ..] = header else { return Err(ParseError::InvalidGrpcPayload) };
    let is_whole = u32::from_be_bytes(*len) as usize == message.len();
    if is_whole { Ok(message) } else { Err(ParseError::InvalidGrpcPayload) }
}

/// Returns the length of the first frame of `body` with its header, or `None` while the header is incomplete.
pub(crate) fn frame_len_bytes(body: &[u8]) -> Option<usize> {
    let [_, len @ ..] = body.first_chunk::<FRAME_HEADER_BYTES>()?;
    Some(FRAME_HEADER_BYTES + u32::from_be_bytes(*len) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_uncompressed_message_is_accepted() {
        assert_eq!(single_message(b"\0\0\0\0\x02hi").unwrap(), b"hi");
        for body in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\x02hi", b"\0\0\0\0\x03hi", b"\0\0\0\0\x01hi"] {
            assert!(single_message(body).is_err(), "{body:?}");
        }
    }
}
