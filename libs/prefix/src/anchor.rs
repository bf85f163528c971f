//! Anchors: the known blocks that placements refer to.

use signalbox_types::BlockHash;

/// The blocks of a chain at positions that are multiples of this can be anchors.
pub(crate) const ANCHOR_INTERVAL: u32 = 16;

/// Returns the anchor of a placement of `chain`, whose first `known` blocks the pool knows, and the number of
/// blocks that come before the placement's suffix. The anchor is [`BlockHash::ROOT`] if no block is known.
///
/// Only every sixteenth block can be an anchor, so the suffix repeats up to 15 known blocks. In return only
/// these few blocks have to be found by their hashes.
pub fn anchor(chain: &[BlockHash], known: usize) -> (BlockHash, usize) {
    anchor_after(BlockHash::ROOT, chain, known)
}

/// Returns the same as [`anchor()`] for a `suffix` that follows `anchor`, if `known` blocks of the suffix are
/// known too.
pub fn anchor_after(anchor: BlockHash, suffix: &[BlockHash], known: usize) -> (BlockHash, usize) {
    // Blocks from one anchor to the next; the first block of a chain can be an anchor.
    let to_anchor = if anchor == BlockHash::ROOT { 0 } else { ANCHOR_INTERVAL as usize - 1 };
    match known.min(suffix.len()).checked_sub(to_anchor + 1) {
        None => (anchor, 0),
        Some(more) => {
            let last = to_anchor + more - more % ANCHOR_INTERVAL as usize;
            (suffix[last], last + 1)
        }
    }
}
