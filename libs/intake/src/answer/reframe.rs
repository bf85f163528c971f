//! Puts the name that a client asked for back into messages of gRPC, whose lengths change with it.

use bytes::{Bytes, BytesMut};
use smallvec::smallvec;

use crate::answer::names::{Names, Pieces, pass};
use crate::vertex::{Message, Payload};
use crate::wire::frame_bytes;

/// The longest message, with what stands before it, that is put together. It bounds what an answer can make a reader keep.
const MESSAGE_BYTES: usize = 1 << 20;

/// Replaces names in each `google.api.HttpBody` of an answer that comes in pieces. A message that is longer than the bound, compressed or
/// something else passes as it is.
#[derive(Debug)]
pub(crate) struct Reframer {
    names: Names,
    /// The message that is not whole yet.
    held: BytesMut,
    /// How much of a message that is too long is to come.
    passing_bytes: usize,
    /// Where messages begin is not known any more.
    is_lost: bool,
}

impl Reframer {
    pub(crate) fn new(names: Names) -> Self {
        Self { names, held: BytesMut::new(), passing_bytes: 0, is_lost: false }
    }

    pub(crate) fn push(&mut self, piece: Bytes, is_last: bool) -> Pieces {
        let mut out = Pieces::new();
        if self.is_lost {
            pass(&mut out, piece);
            return out;
        }
        self.held.extend_from_slice(&piece);
        while let Some(message) = self.next_whole() {
            pass(&mut out, message);
        }
        if is_last {
            self.is_lost = !self.held.is_empty();
            pass(&mut out, self.held.split().freeze());
        }
        out
    }

    /// The next message, or as much as there is of one that is too long; `None` when there is nothing more to pass on.
    fn next_whole(&mut self) -> Option<Bytes> {
        if self.passing_bytes == 0 {
            let len = frame_bytes(&self.held)?;
            if len <= MESSAGE_BYTES {
                return (len <= self.held.len())
                    .then(|| self.held.split_to(len).freeze())
                    .map(|m| self.renamed(m));
            }
            self.passing_bytes = len;
        }
        let len = self.passing_bytes.min(self.held.len());
        self.passing_bytes -= len;
        (len > 0).then(|| self.held.split_to(len).freeze())
    }

    fn renamed(&mut self, message: Bytes) -> Bytes {
        let Ok(Some(payload)) = Payload::of(&message, Message::Answer) else { return message };
        let range = payload.range();
        let pieces = self.names.push(message.slice(range.clone()), true);
        match &pieces[..] {
            [] | [_] => message,
            pieces => payload.edited(smallvec![(range, pieces.concat().into())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::head_of;

    fn frame(data: &str) -> Vec<u8> {
        let message = [b"\x0a\x04text", &head_of(2, data.len())[..], data.as_bytes(), b"\x1a\0"].concat();
        [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat()
    }

    fn renamed(body: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut reframer = Reframer::new(Names::new("t", "asked for"));
        let mut out = Vec::new();
        let mut take = |pieces: Pieces| pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        body.chunks(piece_bytes).for_each(|piece| take(reframer.push(Bytes::copy_from_slice(piece), false)));
        take(reframer.push(Bytes::new(), true));
        out
    }

    #[test]
    fn names_are_put_back_and_lengths_with_them() {
        let long = "x".repeat(117);
        let [before, after] = ["t", "asked for"].map(|name| {
            let events = format!(
                "data: {{\"model\": \"{name}\"}}\n\ndata: {{\"model\":\"{name}\",\"a\":\"{long}\"}}\n\n"
            );
            [frame(&events), frame("data: [DONE]"), frame("")].concat()
        });
        for piece_bytes in [1, 2, 7, 100, usize::MAX] {
            assert_eq!(after, renamed(&before, piece_bytes), "{piece_bytes}");
        }
    }

    #[test]
    fn what_cannot_be_put_together_passes() {
        let named = frame(r#"{"model":"t"}"#);
        let mut compressed = named.clone();
        compressed[0] = 1;
        let long = frame(&format!("{{\"model\":\"t\",\"a\":\"{}\"}}", "x".repeat(MESSAGE_BYTES)));
        for piece_bytes in [7, 10_000, usize::MAX] {
            for passing in [&compressed, &long] {
                let after = renamed(&[&passing[..], &named].concat(), piece_bytes);
                assert_eq!([&passing[..], &frame(r#"{"model":"asked for"}"#)].concat(), after);
            }
            for cut in 1..named.len() {
                assert_eq!(named[..cut], renamed(&named[..cut], piece_bytes));
            }
        }
        let mut reframer = Reframer::new(Names::new("t", "asked for"));
        let passed: Vec<u8> = named
            .chunks(9)
            .flat_map(|piece| reframer.push(Bytes::copy_from_slice(piece), true).concat())
            .collect();
        assert_eq!(named, passed);
    }
}
