//! Which pods hold which blocks, as a replica remembers it from its own decisions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use hashlink::LinkedHashSet;
use signalbox_prefix::IdentityHasher;
use signalbox_types::BlockHash;

type BlockHasher = BuildHasherDefault<IdentityHasher>;

/// The blocks of each pod, the least recently added ones forgotten first.
#[derive(Debug)]
pub(super) struct HeldBlocks {
    /// The pods that hold each block, one bit each.
    holders: HashMap<BlockHash, u128, BlockHasher>,
    pods: Vec<PodBlocks>,
}

/// The blocks of one pod.
#[derive(Debug)]
struct PodBlocks {
    capacity: usize,
    /// In the order in which they were last added.
    blocks: LinkedHashSet<BlockHash, BlockHasher>,
}

impl HeldBlocks {
    /// Creates empty memory of as many blocks per pod as `capacities` says, for at most 128 pods.
    pub(super) fn new(capacities: impl IntoIterator<Item = usize>) -> Self {
        let pod = |capacity| PodBlocks { capacity, blocks: LinkedHashSet::default() };
        let pods: Vec<_> = capacities.into_iter().map(pod).collect();
        assert!(pods.len() <= 128, "the holders of a block are the bits of a u128");
        Self { holders: HashMap::default(), pods }
    }

    /// Returns the pods that hold `block`, one bit each.
    pub(super) fn holders(&self, block: BlockHash) -> u128 {
        self.holders.get(&block).copied().unwrap_or(0)
    }

    /// Adds the blocks of `chain` to those of `pod`, in this order: the end of the chain is forgotten last.
    pub(super) fn add(&mut self, pod: usize, chain: impl IntoIterator<Item = BlockHash>) {
        let (blocks, bit) = (&mut self.pods[pod], 1 << pod);
        for block in chain {
            blocks.blocks.insert(block);
            *self.holders.entry(block).or_insert(0) |= bit;
            while let Some(forgotten) = blocks.forget_excess() {
                if let Entry::Occupied(mut holders) = self.holders.entry(forgotten) {
                    *holders.get_mut() &= !bit;
                    if *holders.get() == 0 {
                        holders.remove();
                    }
                }
            }
        }
    }
}

impl PodBlocks {
    /// Forgets the block that was added the longest time ago, if there are too many.
    fn forget_excess(&mut self) -> Option<BlockHash> {
        if self.blocks.len() > self.capacity { self.blocks.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(numbers: &[u64]) -> Vec<BlockHash> {
        numbers.iter().copied().map(BlockHash).collect()
    }

    fn held(memory: &HeldBlocks, numbers: &[u64]) -> Vec<u128> {
        blocks(numbers).into_iter().map(|block| memory.holders(block)).collect()
    }

    #[test]
    fn least_recently_added_block_of_a_pod_is_forgotten_first() {
        let mut memory = HeldBlocks::new([3, 8]);
        memory.add(0, blocks(&[1, 2, 3]));
        memory.add(1, blocks(&[1, 2]));
        assert_eq!(vec![0b11, 0b11, 0b01], held(&memory, &[1, 2, 3]));
        // 1 is added again and stays.
        memory.add(0, blocks(&[1, 4]));
        assert_eq!(vec![0b11, 0b10, 0b01, 0b01], held(&memory, &[1, 2, 3, 4]));
    }

    #[test]
    fn head_of_a_chain_that_exceeds_the_capacity_is_forgotten() {
        let mut memory = HeldBlocks::new([2]);
        memory.add(0, blocks(&[1, 2, 3]));
        assert_eq!(vec![0, 1, 1], held(&memory, &[1, 2, 3]));
    }
}
