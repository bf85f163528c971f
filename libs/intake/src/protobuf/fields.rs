//! Reads the fields of protobuf messages in place.

use std::ops::Range;

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::error::ParseError;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes. No field that is read has this type.
    Fixed,
}

/// Iterates over the fields of a message in their order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn parse_next(&mut self) -> Option<(u32, Value<'a>)> {
        let (number, wire_type) = decode_key(&mut self.rest).ok()?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.rest).ok()?),
            WireType::SixtyFourBit => self.skip_fixed(8)?,
            WireType::ThirtyTwoBit => self.skip_fixed(4)?,
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut self.rest).ok()?).ok()?;
                Value::Bytes(self.take_bytes(len)?)
            }
            // No message that is read has groups, which protobuf has replaced long ago.
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        Some((number, value))
    }

    fn skip_fixed(&mut self, len: usize) -> Option<Value<'a>> {
        self.take_bytes(len).map(|_| Value::Fixed)
    }

    fn take_bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.parse_next();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(ParseError::InvalidGrpcPayload))
    }
}

/// Where a field is in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    pub(crate) header: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// Finds the field `number` of the message at `message` in `body`. The field must be a string, bytes or a
/// message.
///
/// # Errors
/// Returns [`ParseError::InvalidGrpcPayload`] if the range is not a message, or has the field twice, which no
/// writer does.
pub(crate) fn find_single_field(
    body: &[u8],
    message: Range<usize>,
    number: u32,
) -> Result<Option<FieldSpan>, ParseError> {
    let mut fields = Fields::new(&body[message.clone()]);
    let (mut found, mut start) = (None, message.start);
    while let Some(field) = fields.next() {
        let end = message.end - fields.rest.len();
        if let (n, Value::Bytes(value)) = field?
            && n == number
        {
            let value = end - value.len()..end;
            if found.replace(FieldSpan { header: start..value.start, value }).is_some() {
                return Err(ParseError::InvalidGrpcPayload);
            }
        }
        start = end;
    }
    Ok(found)
}

/// Returns the header (tag and length) of field `number` with a value of `len` bytes.
pub(crate) fn field_header(number: u32, len: usize) -> Vec<u8> {
    let mut header = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut header);
    encode_varint(len as u64, &mut header);
    header
}

/// Iterates over packed 32-bit varints.
pub(crate) struct PackedInts<'a> {
    rest: &'a [u8],
}

impl<'a> PackedInts<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl Iterator for PackedInts<'_> {
    type Item = Result<u32, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let number = decode_varint(&mut self.rest);
        if number.is_err() {
            self.rest = &[];
        }
        Some(number.map(truncate_to_u32).map_err(|_| ParseError::InvalidGrpcPayload))
    }
}

/// Truncates a varint the way protobuf does for 32-bit fields.
pub(crate) fn truncate_to_u32(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
        Fields::new(message).collect::<Result<_, _>>().ok()
    }

    #[test]
    fn fields_of_all_wire_types_are_read() {
        let message = b"\x08\x96\x01\x12\x02hi\x1d....\x21........";
        let read =
            vec![(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed), (4, Value::Fixed)];
        assert_eq!(fields(message), Some(read));
        assert_eq!(fields(b""), Some(vec![]));
        let most = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(fields(most), Some(vec![(1, Value::Varint(u64::MAX))]));
    }

    #[test]
    fn invalid_messages_are_rejected() {
        for message in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x12\x03hi",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi",
            b"\x0b",
            b"\x00\x01",
            b"\x1d...",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ] {
            assert_eq!(fields(message), None, "{message:?}");
        }
    }
}
