//! The terms of an endpoint's digest.

use signalbox_types::{BlockHash, EndpointKey};

use crate::residency::Residency;

/// Returns the digest of the last block of a use. It covers all blocks before it, because they are held too.
pub(super) fn use_digest(endpoint: EndpointKey, last: BlockHash, used: u64) -> u64 {
    mix(mix(endpoint.0 ^ 0x9e37_79b9_7f4a_7c15, last.0 ^ 0xd1b5_4a32_d192_ed03), used ^ 0x8cb9_2ba7_2f3d_8dd7)
}

/// Returns the digest of a block that an engine keeps.
pub(super) fn confirmed_digest(endpoint: EndpointKey, block: BlockHash, residency: Residency) -> u64 {
    let residency = match residency {
        Residency::Device => 0xa076_1d64_78bd_642f,
        Residency::Host => 0xe703_7ed1_a0b4_28db,
        Residency::Disk => 0x5899_65cc_7537_4cc3,
    };
    mix(mix(endpoint.0 ^ 0x2d35_8dcc_aa6c_78a5, block.0 ^ 0x8bb8_4b93_962e_acc9), residency)
}

/// Mixes two numbers so that each bit of both affects the result: combines the two halves of their product.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64) ^ a.rotate_left(32) ^ b
}
