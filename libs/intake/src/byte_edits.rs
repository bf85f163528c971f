//! Replaces ranges of a byte string.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

/// Ranges of a byte string and their replacements.
pub(crate) type ByteEdits = SmallVec<[(Range<usize>, Bytes); 4]>;

/// Returns `body` with `edits` applied. The ranges must be sorted, must not overlap and must lie within
/// `body`.
pub(crate) fn apply_edits(body: &[u8], edits: &ByteEdits) -> Bytes {
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + added);
    let mut from = 0;
    for (range, text) in edits {
        out.put_slice(&body[from..range.start]);
        out.put_slice(text);
        from = range.end;
    }
    out.put_slice(&body[from..]);
    out.freeze()
}
