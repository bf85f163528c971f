//! Reads the framing of gRPC messages.

use crate::error::ParseError;

/// Length of the header before each message in bytes: a compression flag and the length of the message.
pub(crate) const FRAME_HEADER_BYTES: usize = 5;

/// Returns the only message of a gRPC body, or `None` if it is compressed.
///
/// # Errors
/// Returns [`ParseError::InvalidGrpcPayload`] if the message is truncated, or not the only one.
pub(crate) fn single_message(body: &[u8]) -> Result<Option<&[u8]>, ParseError> {
    let (header, message) =
        body.split_first_chunk::<FRAME_HEADER_BYTES>().ok_or(ParseError::InvalidGrpcPayload)?;
    let [compressed, len @ ..] = header;
    if u32::from_be_bytes(*len) as usize != message.len() {
        return Err(ParseError::InvalidGrpcPayload);
    }
    match compressed {
        0 => Ok(Some(message)),
        1 => Ok(None),
        _ => Err(ParseError::InvalidGrpcPayload),
    }
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
    fn only_a_single_message_is_accepted() {
        assert_eq!(single_message(b"\0\0\0\0\x02hi").unwrap(), Some(&b"hi"[..]));
        assert_eq!(single_message(b"\x01\0\0\0\x02hi").unwrap(), None);
        for body in [&b""[..], b"\0\0\0\0", b"\x02\0\0\0\x02hi", b"\0\0\0\0\x03hi", b"\0\0\0\0\x01hi"] {
            assert!(single_message(body).is_err(), "{body:?}");
        }
    }
}
