//! The KV block pool: reference counts, prefix cache by block hash, eviction of the least recently used.
//!
//! A block is in exactly one of four states: referenced by requests, idle but cached (evictable, oldest
//! first), recycled (used before, without cached content), or fresh (never used). Recycled and fresh blocks
//! are allocated before any cached block is evicted.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::idle_list::IdleList;

/// Distributes block hashes over the table. The multiplication is for callers that number their blocks 1, 2,
/// 3 instead of hashing them.
#[derive(Default)]
struct BlockHasher(u64);

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        // 2^64 divided by the golden ratio (Fibonacci hashing); the rotation brings high bits to the bucket
        // index.
        self.0 = (self.0 ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

#[derive(Clone, Copy, Default)]
struct Block {
    references: u32,
    /// Hash of the block while it is in the prefix cache.
    hash: Option<u64>,
}

/// All KV blocks of one model server.
pub(super) struct BlockPool {
    /// Grows up to `capacity` as blocks are used for the first time, so that a pool that is never filled
    /// stays small.
    blocks: Vec<Block>,
    capacity: u32,
    recycled: Vec<u32>,
    idle: IdleList,
    by_hash: HashMap<u64, u32, BuildHasherDefault<BlockHasher>>,
    used: u32,
}

/// The blocks allocated to a request on admission.
pub(super) struct Allocation {
    /// Blocks in the order of the prompt.
    pub(super) blocks: Vec<u32>,
    /// Number of leading blocks that came from the prefix cache.
    pub(super) cached: u32,
}

impl BlockPool {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            blocks: Vec::new(),
            capacity,
            recycled: Vec::new(),
            idle: IdleList::new(),
            by_hash: HashMap::default(),
            used: 0,
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns the number of blocks that at least one request references.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Returns the number of blocks that no request references but that the prefix cache can still serve.
    pub(super) fn idle_cached(&self) -> u32 {
        self.idle.len()
    }

    fn free(&self) -> u32 {
        self.capacity - self.used
    }

    /// Allocates `count` blocks to a request, beginning with the longest cached prefix of `chain` (at most
    /// `count` blocks). Returns `None` and changes nothing when there are too few.
    pub(super) fn allocate(&mut self, chain: &[u64], count: u32) -> Option<Allocation> {
        let reusable = &chain[..chain.len().min(count as usize)];
        let mut blocks = Vec::with_capacity(count as usize);
        blocks.extend(reusable.iter().map_while(|hash| self.by_hash.get(hash).copied()));
        let cached = blocks.len() as u32;
        // Idle hits count as free until they are referenced.
        let idle_hits =
            blocks.iter().filter(|&&block| self.blocks[block as usize].references == 0).count() as u32;
        if count - cached > self.free() - idle_hits {
            return None;
        }
        for &block in &blocks {
            self.touch(block);
        }
        for _ in cached..count {
            blocks.push(self.allocate_one().expect("the free blocks were counted above"));
        }
        Some(Allocation { blocks, cached })
    }

    /// Allocates one block without content; evicts the least recently used cached block if no other is left.
    pub(super) fn allocate_one(&mut self) -> Option<u32> {
        let block = match self.recycled.pop() {
            Some(block) => block,
            None if (self.blocks.len() as u32) < self.capacity => {
                self.blocks.push(Block::default());
                self.blocks.len() as u32 - 1
            }
            None => self.evict_oldest()?,
        };
        self.blocks[block as usize].references = 1;
        self.used += 1;
        Some(block)
    }

    /// Adds a block to the prefix cache. The first block with a hash keeps it; a duplicate stays uncached.
    pub(super) fn cache(&mut self, block: u32, hash: u64) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.by_hash.entry(hash) {
            entry.insert(block);
            self.blocks[block as usize].hash = Some(hash);
        }
    }

    /// Drops one reference to each block, the last block first, so that a chain is evicted from its tail.
    pub(super) fn release(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            let entry = &mut self.blocks[block as usize];
            entry.references =
                entry.references.checked_sub(1).expect("a request releases only its own blocks");
            if entry.references > 0 {
                continue;
            }
            self.used -= 1;
            match entry.hash {
                Some(_) => self.idle.push_newest(block),
                None => self.recycled.push(block),
            }
        }
    }

    fn touch(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.references == 0 {
            self.idle.remove(block);
            self.used += 1;
        }
        entry.references += 1;
    }

    fn evict_oldest(&mut self) -> Option<u32> {
        let block = self.idle.pop_oldest()?;
        let hash = self.blocks[block as usize].hash.take();
        self.by_hash.remove(&hash.expect("only cached blocks are idle"));
        Some(block)
    }

    /// Recounts all blocks and compares them with the running totals.
    #[cfg(test)]
    pub(super) fn assert_conserved(&self) {
        let referenced = self.blocks.iter().filter(|block| block.references > 0).count() as u32;
        let fresh = self.capacity - self.blocks.len() as u32;
        assert_eq!(referenced, self.used);
        assert_eq!(self.used + self.idle.len() + self.recycled.len() as u32 + fresh, self.capacity);
        let cached = self.blocks.iter().filter(|block| block.hash.is_some()).count();
        assert_eq!(cached, self.by_hash.len());
        for (&hash, &block) in &self.by_hash {
            assert_eq!(self.blocks[block as usize].hash, Some(hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::BlockPool;

    fn fill(pool: &mut BlockPool, chain: &[u64]) -> Vec<u32> {
        let allocation = pool.allocate(chain, chain.len() as u32).expect("fits");
        for (&block, &hash) in allocation.blocks.iter().zip(chain) {
            pool.cache(block, hash);
        }
        allocation.blocks
    }

    fn resident(pool: &BlockPool, chain: &[u64]) -> usize {
        chain.iter().take_while(|hash| pool.by_hash.contains_key(hash)).count()
    }

    #[test]
    fn least_recently_used_chain_is_evicted_tail_first() {
        let mut pool = BlockPool::new(6);
        let [first, second] = [[11, 12, 13], [21, 22, 23]];
        let (a, b) = (fill(&mut pool, &first), fill(&mut pool, &second));
        pool.release(&a);
        pool.release(&b);
        // Using the first chain again makes it the more recently used one.
        let reused = fill(&mut pool, &first);
        pool.release(&reused);
        let taken: Vec<_> = (0..4).map(|_| pool.allocate_one().unwrap()).collect();
        assert_eq!((resident(&pool, &first), resident(&pool, &second)), (2, 0));
        pool.assert_conserved();
        pool.release(&taken);
        assert_eq!((pool.used(), pool.idle_cached()), (0, 2));
    }

    #[test]
    fn failed_allocation_changes_nothing() {
        let mut pool = BlockPool::new(4);
        let held = fill(&mut pool, &[1, 2]);
        pool.release(&held);
        let other = fill(&mut pool, &[7, 8]);
        // Both cached blocks are idle; reusing them leaves no free block for the third.
        assert!(pool.allocate(&[1, 2], 3).is_none());
        assert_eq!(pool.used(), 2);
        assert_eq!(pool.allocate(&[1, 2], 2).unwrap().cached, 2);
        assert_eq!(pool.allocate_one(), None);
        pool.release(&other);
        pool.assert_conserved();
    }

    #[test]
    fn duplicate_block_stays_uncached_and_is_recycled() {
        let mut pool = BlockPool::new(3);
        let one = fill(&mut pool, &[5]);
        let copy = pool.allocate_one().unwrap();
        pool.cache(copy, 5);
        pool.release(&[copy]);
        assert_eq!((pool.idle_cached(), pool.used()), (0, 1));
        pool.release(&one);
        assert_eq!(pool.idle_cached(), 1);
        pool.assert_conserved();
    }

    proptest! {
        #[test]
        fn blocks_are_conserved(steps in proptest::collection::vec((0u64..4, 1u64..6, any::<bool>()), 1..120)) {
            let mut pool = BlockPool::new(12);
            let mut held: Vec<Vec<u32>> = Vec::new();
            for (family, length, release) in steps {
                if release && !held.is_empty() {
                    let blocks = held.remove(family as usize % held.len());
                    pool.release(&blocks);
                } else {
                    let chain: Vec<u64> = (0..length).map(|position| family * 100 + position).collect();
                    if let Some(allocation) = pool.allocate(&chain, length as u32 + 1) {
                        for (&block, &hash) in allocation.blocks.iter().zip(&chain) {
                            pool.cache(block, hash);
                        }
                        held.push(allocation.blocks);
                    }
                }
                pool.assert_conserved();
            }
            for blocks in held {
                pool.release(&blocks);
            }
            prop_assert_eq!(pool.used(), 0);
            pool.assert_conserved();
        }
    }
}
