//! Which pods hold which blocks, as a replica remembers it from its own decisions.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use signalbox_prefix::IdentityHasher;
use signalbox_types::BlockHash;

type BlockMap<V> = HashMap<BlockHash, V, BuildHasherDefault<IdentityHasher>>;

/// The blocks of each pod, the least recently added ones forgotten first.
#[derive(Debug)]
pub(super) struct HeldBlocks {
    /// The pods that hold each block, one bit each.
    holders: BlockMap<u128>,
    pods: Vec<PodBlocks>,
}

/// The blocks of one pod in the order in which they were last added.
#[derive(Debug)]
struct PodBlocks {
    capacity: usize,
    latest: u64,
    last_added: BlockMap<u64>,
    /// Each addition; outdated ones are skipped.
    order: VecDeque<(u64, BlockHash)>,
}

impl HeldBlocks {
    /// Creates empty memory of as many blocks per pod as `capacities` says, for at most 128 pods.
    pub(super) fn new(capacities: impl IntoIterator<Item = usize>) -> Self {
        let pod = |capacity| PodBlocks {
            capacity,
            latest: 0,
            last_added: BlockMap::default(),
            order: VecDeque::new(),
        };
        let pods: Vec<_> = capacities.into_iter().map(pod).collect();
        assert!(pods.len() <= 128, "the holders of a block are the bits of a u128");
        Self { holders: BlockMap::default(), pods }
    }

    /// Returns the pods that hold `block`, one bit each.
    pub(super) fn holders(&self, block: BlockHash) -> u128 {
        self.holders.get(&block).copied().unwrap_or(0)
    }

    /// Adds the blocks of `chain` to those of `pod`, in this order: the end of the chain is forgotten last.
    pub(super) fn add(&mut self, pod: usize, chain: impl IntoIterator<Item = BlockHash>) {
        let (blocks, bit) = (&mut self.pods[pod], 1 << pod);
        for block in chain {
            blocks.add(block);
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
    fn add(&mut self, block: BlockHash) {
        self.latest += 1;
        self.last_added.insert(block, self.latest);
        self.order.push_back((self.latest, block));
    }

    /// Forgets the block that was added the longest time ago, if there are too many.
    fn forget_excess(&mut self) -> Option<BlockHash> {
        while self.last_added.len() > self.capacity {
            let (added, block) = self.order.pop_front()?;
            if self.last_added.get(&block) == Some(&added) {
                self.last_added.remove(&block);
                return Some(block);
            }
        }
        None
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
