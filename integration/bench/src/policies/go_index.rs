//! The Go EPP's approximate prefix index (`approx-prefix-cache-producer` with its defaults): each replica
//! remembers, for each pod, which blocks of prompts it sent there.

use signalbox_modelsim::ModelConfig;
use signalbox_types::BlockHash;

use super::held_blocks::HeldBlocks;
use crate::sim::Prompt;

/// Tokens per block. The index would use the engine's block size of 16, but never less than this.
pub(super) const BLOCK_TOKENS: u64 = 64;

/// Bytes that count as one token.
pub(super) const BYTES_PER_TOKEN: u64 = 4;

/// Maximum number of blocks of a prompt that are matched: 131,072 tokens.
const MAX_BLOCKS: usize = 2_048;

/// A replica's index.
///
/// Each pod has as many entries as its engine has blocks, although an entry stands for more tokens. They are
/// touched when a prompt is sent there, from its first block on, and not when they are looked up.
pub(super) struct GoIndex {
    held: HeldBlocks,
    pods: usize,
}

impl GoIndex {
    pub(super) fn new(pods: &[ModelConfig]) -> Self {
        let capacities = pods.iter().map(|pod| pod.total_blocks() as usize);
        Self { held: HeldBlocks::new(capacities), pods: pods.len() }
    }

    /// Returns how many blocks of `chain` each pod holds. The search ends at the first block that no pod holds;
    /// a pod that lacks a block before that still counts the blocks after it.
    pub(super) fn matches(&self, chain: &[BlockHash]) -> Vec<usize> {
        let mut blocks = vec![0; self.pods];
        for block in chain {
            let mut holders = self.held.holders(*block);
            if holders == 0 {
                break;
            }
            while holders != 0 {
                blocks[holders.trailing_zeros() as usize] += 1;
                holders &= holders - 1;
            }
        }
        blocks
    }

    /// Remembers that `pod` was sent a prompt.
    pub(super) fn add(&mut self, pod: usize, chain: Vec<BlockHash>) {
        self.held.add(pod, chain);
    }
}

/// Returns the blocks of a prompt. Unlike the pool's index, this one has a block for an unfinished end.
pub(super) fn chain(prompt: &Prompt) -> Vec<BlockHash> {
    let mut chain = prompt.chain.to_vec();
    if prompt.text_bytes > chain.len() as u64 * BLOCK_TOKENS * BYTES_PER_TOKEN {
        // Prompts with the same full blocks and the same length that differ in the end also differ for the engine.
        let last = |hash: Option<u64>| hash.unwrap_or_default();
        let parts = [
            last(prompt.chain.last().map(|block| block.0)),
            last(prompt.engine_blocks().last().copied()),
            prompt.text_bytes,
            u64::from(prompt.tokens),
        ];
        let mixed = parts.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, part| {
            (hash ^ part).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
        });
        chain.push(BlockHash(mixed));
    }
    chain.truncate(MAX_BLOCKS);
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(numbers: &[u64]) -> Vec<BlockHash> {
        numbers.iter().copied().map(BlockHash).collect()
    }

    #[test]
    fn pod_that_lacks_an_early_block_counts_later_ones_until_nobody_holds_one() {
        let pods = vec![ModelConfig::default(); 3];
        let mut index = GoIndex::new(&pods);
        index.add(0, chain(&[1, 2, 3]));
        index.add(1, chain(&[9, 2, 3]));
        index.add(2, chain(&[5]));
        assert_eq!(vec![3, 2, 0], index.matches(&chain(&[1, 2, 3, 4, 5])));
    }
}
