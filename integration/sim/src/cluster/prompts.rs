//! Generates the block hashes of prompts that share prefixes.

use std::sync::Arc;

use signalbox_types::BlockHash;

/// Returns a chain of `blocks` hashes. All chains of one `family` share the first `shared` blocks; `own`
/// selects the rest.
pub(crate) fn chain(family: u64, shared: u64, own: u64, blocks: u64) -> Arc<[BlockHash]> {
    let mut before = 0;
    let block = |at: u64| {
        let text = if at < shared { family } else { (family << 32) | (own + 1) };
        before = split_mix_64(before ^ split_mix_64(text)) | 1;
        BlockHash(before)
    };
    (0..blocks).map(block).collect()
}

/// Mixes a seed with SplitMix64.
fn split_mix_64(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
