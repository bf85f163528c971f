//! Restores the requested model name in text.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use smallvec::SmallVec;

use crate::json::json_string;

/// The pieces to pass on, in order.
pub(crate) type Pieces = SmallVec<[Bytes; 3]>;

/// What precedes a name, with or without one space between them.
const KEY: &[u8] = b"\"model\":";

/// Replaces each `"model":"<target>"` in text that arrives in pieces by the same with another name. One space
/// may follow the colon.
///
/// The text is not parsed: a JSON string cannot contain these bytes because its quotes are escaped.
#[derive(Debug)]
pub(crate) struct TextRenamer {
    key: Finder<'static>,
    /// The name to replace, in quotes.
    target: Vec<u8>,
    /// Its replacement, in quotes.
    requested: Bytes,
    /// The end of the input so far, if a match may start there.
    held: Bytes,
}

/// The result of a search in a piece.
#[derive(Debug, PartialEq, Eq)]
enum Match {
    None,
    /// A name from the first index up to, but not including, the second.
    Full(usize, usize),
    /// The bytes from this index to the end may become a match.
    Partial(usize),
}

impl TextRenamer {
    /// Returns a renamer that replaces the name `target` by `requested`.
    pub(crate) fn new(target: &str, requested: &str) -> Self {
        Self {
            key: Finder::new(KEY),
            target: json_string(target).into_bytes(),
            requested: json_string(requested).into(),
            held: Bytes::new(),
        }
    }

    /// Takes the next piece and returns the pieces to pass on, in order. Unchanged bytes are not copied. At
    /// most the start of a match is held back, and nothing of the last piece.
    pub(crate) fn push(&mut self, piece: Bytes, is_last: bool) -> Pieces {
        let mut out = SmallVec::new();
        let mut rest = self.resolve_held(piece, &mut out);
        loop {
            match self.find(&rest) {
                Match::Full(start, end) => {
                    push_nonempty(&mut out, rest.split_to(start));
                    out.push(self.requested.clone());
                    rest.advance(end - start);
                }
                Match::Partial(start) if !is_last => {
                    // Copies the few bytes that are held back; a slice would keep the whole piece in memory.
                    self.held = Bytes::copy_from_slice(&rest.split_off(start));
                    push_nonempty(&mut out, rest);
                    return out;
                }
                Match::None | Match::Partial(_) => {
                    push_nonempty(&mut out, rest);
                    return out;
                }
            }
        }
    }

    /// Passes on the held bytes as soon as `piece` decides about them, and returns what is left to search.
    fn resolve_held(&mut self, mut piece: Bytes, out: &mut Pieces) -> Bytes {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return piece;
        }
        // The furthest that a match starting in the held bytes can reach.
        let reach = piece.len().min(KEY.len() + 1 + self.target.len());
        let mut joined = BytesMut::with_capacity(held.len() + reach);
        joined.extend_from_slice(&held);
        joined.extend_from_slice(&piece[..reach]);
        let mut joined = joined.freeze();
        if reach == piece.len() {
            return joined;
        }
        match self.find(&joined) {
            Match::Full(start, end) => {
                let taken = end - held.len();
                push_nonempty(out, joined.split_to(start));
                out.push(self.requested.clone());
                piece.split_off(taken)
            }
            _ => {
                push_nonempty(out, held);
                piece
            }
        }
    }

    fn find(&self, bytes: &[u8]) -> Match {
        let mut from = 0;
        while let Some(at) = self.key.find(&bytes[from..]) {
            let start = from + at + KEY.len();
            let value = &bytes[start..];
            let space = usize::from(value.first() == Some(&b' '));
            let name = &value[space..];
            if name.starts_with(&self.target) {
                return Match::Full(start + space, start + space + self.target.len());
            }
            if self.target.starts_with(name) {
                return Match::Partial(from + at);
            }
            from = start;
        }
        let key_end = (1..KEY.len()).rev().find(|len| bytes[from..].ends_with(&KEY[..*len]));
        key_end.map_or(Match::None, |len| Match::Partial(bytes.len() - len))
    }
}

pub(crate) fn push_nonempty(out: &mut Pieces, bytes: Bytes) {
    if !bytes.is_empty() {
        out.push(bytes);
    }
}
