//! Reads gRPC messages.
//!
//! The messages are not buffered: a state machine picks out the numbers and the lengths of the token ids, or
//! the HTTP body that the messages carry.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::protobuf::fields::truncate_to_u32;
use crate::protobuf::grpc_frame::FRAME_HEADER_BYTES;
use crate::protobuf::http_body::FIELD_NUMBER;
use crate::response::error::ResponseError;
use crate::response::reader::OutputForm;
use crate::response::reader::http_body::HttpBodyReader;
use crate::response::usage::{Usage, UsageParts};

/// The type of a response's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageType {
    /// `GenerateResponse`, which contains a `GenerateStreamChunk` or a `GenerateComplete`.
    Generate,
    /// `EmbedResponse`.
    Embed,
    /// `google.api.HttpBody`, which carries the body of an HTTP response.
    HttpBody,
}

/// Reads messages from pieces of any size. Compressed and invalid messages are ignored.
#[derive(Debug)]
pub(crate) struct GrpcMessageReader {
    message_type: MessageType,
    header: [u8; FRAME_HEADER_BYTES],
    /// Number of bytes of the header read so far.
    header_bytes: usize,
    /// Bytes still to come of the current message.
    remaining_bytes: u64,
    submessage: Option<Submessage>,
    state: State,
    output: Option<OutputForm>,
    usage: UsageParts,
    http_body: HttpBodyReader,
}

/// The nested message that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Submessage {
    kind: SubmessageKind,
    remaining_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubmessageKind {
    Chunk,
    Complete,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Tag(PartialVarint),
    /// The value of a field.
    Value(u32, PartialVarint),
    /// The length of a field.
    Length(u32, PartialVarint),
    /// This many bytes to skip.
    Skip(u64),
    /// This many bytes of the HTTP body.
    HttpBody(u64),
    /// The rest of an invalid message.
    Invalid,
}

/// Maximum length of a varint in bytes.
const MAX_VARINT_BYTES: usize = 10;

/// The bytes of a varint that have come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PartialVarint {
    bytes: [u8; MAX_VARINT_BYTES],
    len: usize,
}

impl PartialVarint {
    const EMPTY: Self = Self { bytes: [0; MAX_VARINT_BYTES], len: 0 };

    /// Adds a byte. There is space as long as no byte before it was the last of the varint.
    fn with(mut self, byte: u8) -> Self {
        self.bytes[self.len] = byte;
        self.len += 1;
        self
    }

    /// Returns the bytes if the last of the varint is among them, or if they are too many for a varint.
    fn ended(&self) -> Option<&[u8]> {
        let bytes = &self.bytes[..self.len];
        let is_last = bytes.last().is_some_and(|byte| byte & 0x80 == 0);
        (is_last || self.len == MAX_VARINT_BYTES).then_some(bytes)
    }
}

const EXPECT_TAG: State = State::Tag(PartialVarint::EMPTY);

impl GrpcMessageReader {
    pub(crate) fn new(message_type: MessageType) -> Self {
        Self {
            message_type,
            header: [0; FRAME_HEADER_BYTES],
            header_bytes: 0,
            remaining_bytes: 0,
            submessage: None,
            state: EXPECT_TAG,
            output: None,
            usage: UsageParts::default(),
            http_body: HttpBodyReader::default(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        match self.message_type {
            MessageType::Generate | MessageType::Embed => self.usage.total(),
            MessageType::HttpBody => self.http_body.usage(),
        }
    }

    pub(crate) fn output(&self) -> Option<OutputForm> {
        match self.message_type {
            MessageType::Generate | MessageType::Embed => self.output,
            MessageType::HttpBody => self.http_body.output(),
        }
    }

    /// Returns the error that a carried body reports. An error of gRPC itself is in the trailers.
    pub(crate) fn error(&self) -> Option<ResponseError> {
        self.http_body.error()
    }

    pub(crate) fn end(&mut self) {
        self.http_body.end();
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let len = if self.remaining_bytes == 0 {
                self.read_header(byte)
            } else {
                self.push_message_bytes(byte, rest)
            };
            rest = &rest[len..];
        }
    }

    /// Reads one byte of a header; returns the number of bytes read.
    fn read_header(&mut self, byte: u8) -> usize {
        self.header[self.header_bytes] = byte;
        self.header_bytes += 1;
        if self.header_bytes == FRAME_HEADER_BYTES {
            let [compressed, len @ ..] = self.header;
            self.header_bytes = 0;
            self.remaining_bytes = u64::from(u32::from_be_bytes(len));
            self.submessage = None;
            self.state = if compressed == 0 { EXPECT_TAG } else { State::Invalid };
        }
        1
    }

    /// Reads part of a message from `ready`, which starts with `byte`; returns the number of bytes read.
    fn push_message_bytes(&mut self, byte: u8, ready: &[u8]) -> usize {
        let unread = match self.state {
            State::Skip(bytes) | State::HttpBody(bytes) => bytes,
            State::Invalid => self.remaining_bytes,
            _ => 1,
        };
        let len = unread.min(ready.len() as u64);
        self.remaining_bytes -= len;
        if let Some(submessage) = &mut self.submessage {
            submessage.remaining_bytes = submessage.remaining_bytes.saturating_sub(len);
        }
        self.state = match self.state {
            State::Skip(bytes) if bytes == len => EXPECT_TAG,
            State::Skip(bytes) => State::Skip(bytes - len),
            State::HttpBody(bytes) => {
                self.http_body.push(&ready[..len as usize]);
                if bytes == len { EXPECT_TAG } else { State::HttpBody(bytes - len) }
            }
            State::Invalid => State::Invalid,
            State::Tag(varint) => self.on_tag(varint.with(byte)),
            State::Value(field, varint) => self.on_value(field, varint.with(byte)),
            State::Length(field, varint) => self.on_length(field, varint.with(byte)),
        };
        if self.submessage.is_some_and(|submessage| submessage.remaining_bytes == 0) {
            self.submessage = None;
            // A field that extends beyond the end of its message makes the message invalid.
            self.state = if self.state == EXPECT_TAG { EXPECT_TAG } else { State::Invalid };
        }
        len as usize
    }

    /// Returns the state after the next byte of a tag.
    fn on_tag(&self, varint: PartialVarint) -> State {
        let Some(mut bytes) = varint.ended() else { return State::Tag(varint) };
        match decode_key(&mut bytes) {
            Ok((field, WireType::Varint)) => State::Value(field, PartialVarint::EMPTY),
            Ok((field, WireType::LengthDelimited)) => State::Length(field, PartialVarint::EMPTY),
            Ok((_, WireType::SixtyFourBit)) => self.skip_bytes(8),
            Ok((_, WireType::ThirtyTwoBit)) => self.skip_bytes(4),
            Ok((_, WireType::StartGroup | WireType::EndGroup)) | Err(_) => State::Invalid,
        }
    }

    /// Returns the state after the next byte of a field's number.
    fn on_value(&mut self, field: u32, varint: PartialVarint) -> State {
        let Some(mut bytes) = varint.ended() else { return State::Value(field, varint) };
        let Ok(value) = decode_varint(&mut bytes) else { return State::Invalid };
        self.note_value(field, value);
        EXPECT_TAG
    }

    /// Returns the state after the next byte of a field's length.
    fn on_length(&mut self, field: u32, varint: PartialVarint) -> State {
        let Some(mut bytes) = varint.ended() else { return State::Length(field, varint) };
        let Ok(len) = decode_varint(&mut bytes) else { return State::Invalid };
        self.begin_field(field, len)
    }

    /// Returns the state after the header of a field with a value of `len` bytes.
    fn begin_field(&mut self, field: u32, len: u64) -> State {
        let kind = match (self.message_type, self.submessage, field) {
            (MessageType::Generate, None, 1) => SubmessageKind::Chunk,
            (MessageType::Generate, None, 2) => SubmessageKind::Complete,
            (MessageType::HttpBody, None, FIELD_NUMBER) => {
                return match self.skip_bytes(len) {
                    State::Skip(len) => State::HttpBody(len),
                    other => other,
                };
            }
            _ => {
                let next = self.skip_bytes(len);
                if matches!(next, State::Skip(_)) {
                    self.note_output(field);
                }
                return next;
            }
        };
        if len > self.remaining_bytes {
            return State::Invalid;
        }
        self.submessage = (len > 0).then_some(Submessage { kind, remaining_bytes: len });
        EXPECT_TAG
    }

    /// Notes output if `field`, which has a value, holds token ids or an embedding.
    fn note_output(&mut self, field: u32) {
        let form = match (self.message_type, self.submessage.map(|submessage| submessage.kind), field) {
            (MessageType::Generate, Some(SubmessageKind::Chunk), 1) => OutputForm::Event,
            (MessageType::Generate, Some(SubmessageKind::Complete), 1) | (MessageType::Embed, None, 1) => {
                OutputForm::Document
            }
            _ => return,
        };
        self.output.get_or_insert(form);
    }

    fn skip_bytes(&self, len: u64) -> State {
        let remaining_bytes =
            self.submessage.map_or(self.remaining_bytes, |submessage| submessage.remaining_bytes);
        match len {
            0 => EXPECT_TAG,
            _ if len > remaining_bytes => State::Invalid,
            _ => State::Skip(len),
        }
    }

    /// Notes what the value of a field reports.
    fn note_value(&mut self, field: u32, value: u64) {
        // Token ids need not be packed.
        self.note_output(field);
        let tokens = Some(u64::from(truncate_to_u32(value)));
        let mut later = UsageParts::default();
        match (self.message_type, self.submessage.map(|submessage| submessage.kind), field) {
            (MessageType::Generate, Some(SubmessageKind::Chunk), 2)
            | (MessageType::Generate, Some(SubmessageKind::Complete), 3)
            | (MessageType::Embed, _, 2) => later.prompt_tokens = tokens,
            (MessageType::Generate, Some(SubmessageKind::Chunk), 3)
            | (MessageType::Generate, Some(SubmessageKind::Complete), 4) => {
                later.completion_tokens = tokens;
            }
            (MessageType::Generate, Some(SubmessageKind::Chunk), 4)
            | (MessageType::Generate, Some(SubmessageKind::Complete), 5) => {
                later.cached_tokens = tokens;
            }
            _ => {}
        }
        self.usage.merge(later);
    }
}

#[cfg(test)]
mod tests;
