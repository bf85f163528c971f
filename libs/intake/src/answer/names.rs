//! Puts the name that a client asked for back into text.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use smallvec::SmallVec;

use crate::splice::json_string;

/// What a piece becomes, in order.
pub(crate) type Pieces = SmallVec<[Bytes; 3]>;

/// What a name stands after, with or without one space between them.
const KEY: &[u8] = b"\"model\":";

/// Replaces in text that comes in pieces each `"model":"<target>"`, where there may be a space after the colon, by the same with another
/// name. Nothing is parsed: a string of JSON cannot hold these bytes, as its quotes are escaped.
#[derive(Debug)]
pub(crate) struct Names {
    key: Finder<'static>,
    /// The name to be replaced, in quotes.
    target: Vec<u8>,
    /// The name instead of it, in quotes.
    asked: Bytes,
    /// The end of what came, where it may be the beginning of a match.
    held: Bytes,
}

/// What is found in a piece.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A name from the first to before the second index.
    Name(usize, usize),
    /// What begins at the index and reaches to the end may become a match.
    Beginning(usize),
}

impl Names {
    /// Replaces the name `target` by `asked`.
    pub(crate) fn new(target: &str, asked: &str) -> Self {
        Self {
            key: Finder::new(KEY),
            target: json_string(target).into_bytes(),
            asked: json_string(asked).into(),
            held: Bytes::new(),
        }
    }

    /// Takes the next piece; returns what is to be passed on, in order. What does not change is not copied.
    /// At most the beginning of a match is held back, and nothing of the last piece.
    pub(crate) fn push(&mut self, piece: Bytes, is_last: bool) -> Pieces {
        let mut out = SmallVec::new();
        let mut rest = self.release(piece, &mut out);
        loop {
            match self.find(&rest) {
                Found::Name(start, end) => {
                    pass(&mut out, rest.split_to(start));
                    out.push(self.asked.clone());
                    rest.advance(end - start);
                }
                Found::Beginning(start) if !is_last => {
                    // A copy, lest a few bytes keep all of the piece.
                    self.held = Bytes::copy_from_slice(&rest.split_off(start));
                    pass(&mut out, rest);
                    return out;
                }
                Found::Nothing | Found::Beginning(_) => {
                    pass(&mut out, rest);
                    return out;
                }
            }
        }
    }

    /// Passes on what was held back as far as `piece` decides about it; returns what is to be looked through.
    fn release(&mut self, mut piece: Bytes, out: &mut Pieces) -> Bytes {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return piece;
        }
        // As far as a match that begins in what was held back can reach.
        let reach = piece.len().min(KEY.len() + 1 + self.target.len());
        let mut joined = BytesMut::with_capacity(held.len() + reach);
        joined.extend_from_slice(&held);
        joined.extend_from_slice(&piece[..reach]);
        let mut joined = joined.freeze();
        if reach == piece.len() {
            return joined;
        }
        match self.find(&joined) {
            Found::Name(start, end) => {
                let taken = end - held.len();
                pass(out, joined.split_to(start));
                out.push(self.asked.clone());
                piece.split_off(taken)
            }
            _ => {
                pass(out, held);
                piece
            }
        }
    }

    fn find(&self, bytes: &[u8]) -> Found {
        let mut from = 0;
        while let Some(at) = self.key.find(&bytes[from..]) {
            let start = from + at + KEY.len();
            let value = &bytes[start..];
            let space = usize::from(value.first() == Some(&b' '));
            let name = &value[space..];
            if name.starts_with(&self.target) {
                return Found::Name(start + space, start + space + self.target.len());
            }
            if self.target.starts_with(name) {
                return Found::Beginning(from + at);
            }
            from = start;
        }
        let key_end = (1..KEY.len()).rev().find(|len| bytes[from..].ends_with(&KEY[..*len]));
        key_end.map_or(Found::Nothing, |len| Found::Beginning(bytes.len() - len))
    }
}

pub(crate) fn pass(out: &mut Pieces, bytes: Bytes) {
    if !bytes.is_empty() {
        out.push(bytes);
    }
}
