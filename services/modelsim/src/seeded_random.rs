//! Pseudo-random numbers that depend only on their arguments.

/// Returns the `index`-th draw of `seed` (the finalizer of SplitMix64).
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    let mut mixed = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns the `index`-th draw of `seed` as a number in `[0, 1)`.
pub(crate) fn unit(seed: u64, index: u64) -> f64 {
    // A double holds 53 bits exactly.
    (mix(seed, index) >> 11) as f64 / (1u64 << 53) as f64
}
