//! Protobuf messages, read where they lie.

use std::ops::Range;

use crate::error::IntakeError;

/// Length of what stands before each message of a gRPC body: whether it is compressed, and its length.
pub(crate) const FRAME_HEAD_BYTES: usize = 5;

/// The most bytes of a number.
pub(crate) const VARINT_BYTES: usize = 10;

/// How the value of a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint,
    /// 8 bytes.
    Fixed64,
    /// A length and as many bytes.
    Bytes,
    /// 4 bytes.
    Fixed32,
}

/// The number of a field and how its value is written, from what stands before it; nothing where there is no such.
pub(crate) fn tag(tag: u64) -> Option<(u64, WireType)> {
    let wire_type = match tag & 7 {
        0 => WireType::Varint,
        1 => WireType::Fixed64,
        2 => WireType::Bytes,
        5 => WireType::Fixed32,
        _ => return None,
    };
    (tag >> 3 != 0).then_some((tag >> 3, wire_type))
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes, which none of ours is.
    Fixed,
}

/// The one message of a body of gRPC.
///
/// # Errors
/// [`IntakeError::Grpc`] where it is compressed, cut, or not alone.
pub(crate) fn only_message(body: &[u8]) -> Result<&[u8], IntakeError> {
    let (head, message) = body.split_first_chunk::<FRAME_HEAD_BYTES>().ok_or(IntakeError::Grpc)?;
    let [0, len @ ..] = head else { return Err(IntakeError::Grpc) };
    let is_whole = u32::from_be_bytes(*len) as usize == message.len();
    if is_whole { Ok(message) } else { Err(IntakeError::Grpc) }
}

/// How long the first message of `body` is with what stands before it, as soon as that is there.
pub(crate) fn frame_bytes(body: &[u8]) -> Option<usize> {
    let [_, len @ ..] = body.first_chunk::<FRAME_HEAD_BYTES>()?;
    Some(FRAME_HEAD_BYTES + u32::from_be_bytes(*len) as usize)
}

/// The fields of a message, in the order in which they stand there.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let (number, wire_type) = tag(varint(&mut self.rest)?)?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(varint(&mut self.rest)?),
            WireType::Fixed64 => self.fixed(8)?,
            WireType::Fixed32 => self.fixed(4)?,
            WireType::Bytes => {
                let len = usize::try_from(varint(&mut self.rest)?).ok()?;
                Value::Bytes(self.take(len)?)
            }
        };
        Some((number, value))
    }

    fn fixed(&mut self, len: usize) -> Option<Value<'a>> {
        self.take(len).map(|_| Value::Fixed)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(IntakeError::Grpc))
    }
}

/// Where a field stands: what is before its value, and the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) head: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// Where in `body` the one field `number` of the message at `message` stands, which is a string, bytes or a message.
///
/// # Errors
/// [`IntakeError::Grpc`] where `message` is none, or has the field twice, which no writer makes.
pub(crate) fn only_field(
    body: &[u8],
    message: Range<usize>,
    number: u64,
) -> Result<Option<Place>, IntakeError> {
    let mut fields = Fields::new(&body[message.clone()]);
    let (mut found, mut start) = (None, message.start);
    while let Some(field) = fields.next() {
        let end = message.end - fields.rest.len();
        if let (n, Value::Bytes(value)) = field?
            && n == number
        {
            let value = end - value.len()..end;
            if found.replace(Place { head: start..value.start, value }).is_some() {
                return Err(IntakeError::Grpc);
            }
        }
        start = end;
    }
    Ok(found)
}

/// What stands before a value of `len` bytes of the field `number`.
pub(crate) fn head_of(number: u64, len: usize) -> Vec<u8> {
    let mut head = Vec::new();
    for mut rest in [number << 3 | 2, len as u64] {
        while rest > 0x7f {
            head.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        head.push(rest as u8);
    }
    head
}

/// Numbers of 32 bits that stand one after another without tags.
pub(crate) struct Packed<'a> {
    rest: &'a [u8],
}

impl<'a> Packed<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl Iterator for Packed<'_> {
    type Item = Result<u32, IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let number = varint(&mut self.rest);
        if number.is_none() {
            self.rest = &[];
        }
        Some(number.map(low_half).ok_or(IntakeError::Grpc))
    }
}

/// A number as a field of 32 bits takes it.
pub(crate) fn low_half(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

/// The number at the front of `bytes`, which then begin after it.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(VARINT_BYTES).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
        Fields::new(message).collect::<Result<_, _>>().ok()
    }

    #[test]
    fn a_message_is_read() {
        let message = b"\x08\x96\x01\x12\x02hi\x1d....\x21........";
        let read =
            vec![(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed), (4, Value::Fixed)];
        assert_eq!(fields(message), Some(read));
        assert_eq!(fields(b""), Some(vec![]));
        let most = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(fields(most), Some(vec![(1, Value::Varint(u64::MAX))]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x12\x03hi",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi",
            b"\x0b",
            b"\x00\x01",
            b"\x1d...",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ] {
            assert_eq!(fields(message), None, "{message:?}");
        }
    }

    #[test]
    fn a_body_is_one_uncompressed_message() {
        assert_eq!(only_message(b"\0\0\0\0\x02hi").unwrap(), b"hi");
        for body in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\x02hi", b"\0\0\0\0\x03hi", b"\0\0\0\0\x01hi"] {
            assert!(only_message(body).is_err(), "{body:?}");
        }
    }
}
