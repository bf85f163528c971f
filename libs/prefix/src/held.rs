//! What one endpoint holds, in the order of its use.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_types::{BlockHash, EndpointKey};

use crate::kept::At;
use crate::slots::Slot;
use crate::tier::Tier;

/// What one endpoint holds.
///
/// A prompt that is sent to it uses all its blocks. So of the blocks that were last used by one prompt, each but the last is followed by
/// another: they are the end of that prompt, and the end of the prompt that was sent longest ago is what nothing else needs.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) slot: Slot,
    /// Blocks that it was sent.
    pub(crate) placed: usize,
    /// Over the last block of each use and what engines said.
    pub(crate) digest: u64,
    /// For each prompt, by when it was sent, the blocks that no later one used.
    pub(crate) tails: BTreeMap<u64, Tail>,
    /// The runs of which the engine said that it holds some.
    pub(crate) confirmed: BTreeSet<u32>,
    /// Whether the engine ever said anything.
    pub(crate) was_confirmed: bool,
}

/// The end of a prompt that no later one used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) last: At,
    pub(crate) blocks: u32,
}

impl Held {
    pub(crate) fn new(slot: Slot) -> Self {
        let (tails, confirmed) = (BTreeMap::new(), BTreeSet::new());
        Self { slot, placed: 0, digest: 0, tails, confirmed, was_confirmed: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tails.is_empty() && self.confirmed.is_empty()
    }

    pub(crate) fn add(&mut self, sum: u64) {
        self.digest = self.digest.wrapping_add(sum);
    }

    pub(crate) fn subtract(&mut self, sum: u64) {
        self.digest = self.digest.wrapping_sub(sum);
    }

    /// `blocks` of what was used at `used` are not its any more. Gives the tail's last block when nothing is left of it.
    pub(crate) fn shrink(&mut self, used: u64, blocks: u32) -> Option<At> {
        let tail = self.tails.get_mut(&used)?;
        tail.blocks = tail.blocks.saturating_sub(blocks);
        if tail.blocks > 0 {
            return None;
        }
        self.tails.remove(&used).map(|tail| tail.last)
    }
}

/// What the last block of a use adds to a digest. It stands for all blocks before it: they are held too.
pub(crate) fn sum_of_use(endpoint: EndpointKey, last: BlockHash, used: u64) -> u64 {
    fold(
        fold(endpoint.0 ^ 0x9e37_79b9_7f4a_7c15, last.0 ^ 0xd1b5_4a32_d192_ed03),
        used ^ 0x8cb9_2ba7_2f3d_8dd7,
    )
}

/// What a block that an engine keeps in a tier adds to a digest.
pub(crate) fn sum_of_confirmed(endpoint: EndpointKey, block: BlockHash, tier: Tier) -> u64 {
    let tier = match tier {
        Tier::Device => 0xa076_1d64_78bd_642f,
        Tier::Host => 0xe703_7ed1_a0b4_28db,
        Tier::Disk => 0x5899_65cc_7537_4cc3,
    };
    fold(fold(endpoint.0 ^ 0x2d35_8dcc_aa6c_78a5, block.0 ^ 0x8bb8_4b93_962e_acc9), tier)
}

/// Mixes two numbers, all bits of both into all of the result: the halves of their product, one over the other.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64) ^ a.rotate_left(32) ^ b
}
