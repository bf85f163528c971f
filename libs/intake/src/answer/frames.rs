//! Messages of gRPC, of which a few numbers, or what they carry, are looked at as they pass.

use crate::answer::carried::Carried;
use crate::answer::usage::Usage;
use crate::vertex;
use crate::wire::{FRAME_HEAD_BYTES, VARINT_BYTES, WireType, low_half, tag};

/// Which messages an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `GenerateResponse`, which holds a `GenerateStreamChunk` or a `GenerateComplete`.
    Generate,
    /// `EmbedResponse`.
    Embed,
    /// `google.api.HttpBody`, which carries what an answer over HTTP would be.
    HttpBody,
}

/// Reads messages that are split anywhere. What is compressed, or no message, says nothing.
#[derive(Debug)]
pub(crate) struct Frames {
    layout: Layout,
    head: [u8; FRAME_HEAD_BYTES],
    /// How much there is of the head.
    head_bytes: usize,
    /// How much of the message is to come.
    left_bytes: u64,
    inner: Option<Inner>,
    place: Place,
    usage: Usage,
    carried: Carried,
}

/// The message within the message that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    left_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chunk,
    Complete,
}

/// What the next byte is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Tag(Number),
    /// The value of a field.
    Value(u64, Number),
    /// The length of a field.
    Length(u64, Number),
    /// As many bytes that are not read.
    Skipped(u64),
    /// As many bytes of what the message carries.
    Carried(u64),
    /// A message that is none, up to its end.
    Lost,
}

/// A number that is not complete yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Number {
    value: u64,
    len: usize,
}

impl Number {
    const START: Self = Self { value: 0, len: 0 };
}

const TAG: Place = Place::Tag(Number::START);

impl Frames {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            head: [0; FRAME_HEAD_BYTES],
            head_bytes: 0,
            left_bytes: 0,
            inner: None,
            place: TAG,
            usage: Usage::default(),
            carried: Carried::default(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        match self.layout {
            Layout::Generate | Layout::Embed => self.usage,
            Layout::HttpBody => self.carried.usage(),
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let len = if self.left_bytes == 0 { self.read_head(byte) } else { self.read(byte, rest) };
            rest = &rest[len..];
        }
    }

    /// Reads one byte of a head; returns how many it read.
    fn read_head(&mut self, byte: u8) -> usize {
        self.head[self.head_bytes] = byte;
        self.head_bytes += 1;
        if self.head_bytes == FRAME_HEAD_BYTES {
            let [compressed, len @ ..] = self.head;
            self.head_bytes = 0;
            self.left_bytes = u64::from(u32::from_be_bytes(len));
            self.inner = None;
            self.place = if compressed == 0 { TAG } else { Place::Lost };
        }
        1
    }

    /// Reads of a message, of which `ready` is there, which begins with `byte`; returns how many bytes it read.
    fn read(&mut self, byte: u8, ready: &[u8]) -> usize {
        let unread = match self.place {
            Place::Skipped(bytes) | Place::Carried(bytes) => bytes,
            Place::Lost => self.left_bytes,
            _ => 1,
        };
        let len = unread.min(ready.len() as u64);
        self.left_bytes -= len;
        if let Some(inner) = &mut self.inner {
            inner.left_bytes = inner.left_bytes.saturating_sub(len);
        }
        self.place = match self.place {
            Place::Skipped(bytes) if bytes == len => TAG,
            Place::Skipped(bytes) => Place::Skipped(bytes - len),
            Place::Carried(bytes) => {
                self.carried.push(&ready[..len as usize]);
                if bytes == len { TAG } else { Place::Carried(bytes - len) }
            }
            Place::Lost => Place::Lost,
            Place::Tag(number) => self.grown(byte, number, Place::Tag, Self::begin),
            Place::Value(field, number) => self.grown(
                byte,
                number,
                |number| Place::Value(field, number),
                |frames, value| {
                    frames.take(field, value);
                    TAG
                },
            ),
            Place::Length(field, number) => self.grown(
                byte,
                number,
                |number| Place::Length(field, number),
                |frames, len| frames.enter(field, len),
            ),
        };
        if self.inner.is_some_and(|inner| inner.left_bytes == 0) {
            self.inner = None;
            // A field that reaches over the end of its message is none.
            self.place = if self.place == TAG { TAG } else { Place::Lost };
        }
        len as usize
    }

    /// Where a number leads that `byte` is the next one of.
    fn grown(
        &mut self,
        byte: u8,
        number: Number,
        more: impl FnOnce(Number) -> Place,
        done: impl FnOnce(&mut Self, u64) -> Place,
    ) -> Place {
        let value = number.value | u64::from(byte & 0x7f) << (7 * number.len);
        let len = number.len + 1;
        match byte & 0x80 {
            0 => done(self, value),
            _ if len == VARINT_BYTES => Place::Lost,
            _ => more(Number { value, len }),
        }
    }

    /// Where a tag leads.
    fn begin(&mut self, value: u64) -> Place {
        match tag(value) {
            Some((field, WireType::Varint)) => Place::Value(field, Number::START),
            Some((field, WireType::Bytes)) => Place::Length(field, Number::START),
            Some((_, WireType::Fixed64)) => self.skip(8),
            Some((_, WireType::Fixed32)) => self.skip(4),
            None => Place::Lost,
        }
    }

    /// Where the length of a field leads.
    fn enter(&mut self, field: u64, len: u64) -> Place {
        let kind = match (self.layout, self.inner, field) {
            (Layout::Generate, None, 1) => Kind::Chunk,
            (Layout::Generate, None, 2) => Kind::Complete,
            (Layout::HttpBody, None, vertex::FIELD) => {
                return match self.skip(len) {
                    Place::Skipped(len) => Place::Carried(len),
                    other => other,
                };
            }
            _ => return self.skip(len),
        };
        if len > self.left_bytes {
            return Place::Lost;
        }
        self.inner = (len > 0).then_some(Inner { kind, left_bytes: len });
        TAG
    }

    fn skip(&self, len: u64) -> Place {
        let left_bytes = self.inner.map_or(self.left_bytes, |inner| inner.left_bytes);
        match len {
            0 => TAG,
            _ if len > left_bytes => Place::Lost,
            _ => Place::Skipped(len),
        }
    }

    /// Takes the value of a field, if it is one of those that tell the usage.
    fn take(&mut self, field: u64, value: u64) {
        let tokens = Some(u64::from(low_half(value)));
        let mut later = Usage::default();
        match (self.layout, self.inner.map(|inner| inner.kind), field) {
            (Layout::Generate, Some(Kind::Chunk), 2)
            | (Layout::Generate, Some(Kind::Complete), 3)
            | (Layout::Embed, _, 2) => later.prompt_tokens = tokens,
            (Layout::Generate, Some(Kind::Chunk), 3) | (Layout::Generate, Some(Kind::Complete), 4) => {
                later.completion_tokens = tokens;
            }
            (Layout::Generate, Some(Kind::Chunk), 4) | (Layout::Generate, Some(Kind::Complete), 5) => {
                later.cached_tokens = tokens;
            }
            _ => {}
        }
        self.usage.merge(later);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    fn read(layout: Layout, body: &[u8], piece_bytes: usize) -> [Option<u64>; 3] {
        let mut frames = Frames::new(layout);
        body.chunks(piece_bytes).for_each(|piece| frames.push(piece));
        let Usage { prompt_tokens, completion_tokens, cached_tokens } = frames.usage();
        [prompt_tokens, completion_tokens, cached_tokens]
    }

    const PIECES: [usize; 5] = [1, 2, 3, 7, usize::MAX];

    #[test]
    fn chunks_and_the_end_are_read() {
        let chunk = b"\x0a\x0c\x0a\x02\x07\x08\x10\xac\x02\x18\x01\x20\x96\x01";
        let complete = b"\x12\x0f\x0a\x02\x07\x08\x12\x04stop\x20\x09\x28\x80\x02";
        for piece_bytes in PIECES {
            let one = read(Layout::Generate, &frame(chunk), piece_bytes);
            assert_eq!(one, [Some(300), Some(1), Some(150)], "{piece_bytes}");
            let both = [frame(chunk), frame(b""), frame(complete)].concat();
            let both = read(Layout::Generate, &both, piece_bytes);
            assert_eq!(both, [Some(300), Some(9), Some(256)], "{piece_bytes}");
        }
    }

    #[test]
    fn an_embedding_is_read() {
        let embedding = b"\x0a\x08........\x10\x05\x18\x03";
        for piece_bytes in PIECES {
            assert_eq!(read(Layout::Embed, &frame(embedding), piece_bytes), [Some(5), None, None]);
        }
    }

    #[test]
    fn what_is_no_message_says_nothing_and_hides_only_itself() {
        let good = frame(b"\x0a\x02\x10\x05");
        for bad in [
            &b"\x0b\x02\x10\x06"[..],
            b"\x0a\x09\x10\x06",
            b"\x0a\x03\x0a\x09\x10\x10\x06",
            b"\x0a\x01\x10\x06",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            for piece_bytes in PIECES {
                let body = [frame(bad), good.clone()].concat();
                assert_eq!(read(Layout::Generate, &frame(bad), piece_bytes)[1..], [None, None], "{bad:?}");
                assert_eq!(read(Layout::Generate, &body, piece_bytes)[0], Some(5), "{bad:?}");
            }
        }
        let mut compressed = good;
        compressed[0] = 1;
        assert_eq!(read(Layout::Generate, &compressed, 1), [None; 3]);
    }
}
