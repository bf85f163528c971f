//! The block pool, compared with a naive model of vLLM's.

use proptest::prelude::*;

use crate::engine::block_pool::{Allocation, BlockPool};

fn admit(pool: &mut BlockPool, chain: &[u64], count: u32) -> Option<Allocation> {
    let cached = pool.cached_blocks(chain).min(count);
    pool.admit(chain, cached, count, count)
}

fn fill(pool: &mut BlockPool, chain: &[u64]) -> Vec<u32> {
    let Allocation { blocks, cached } = admit(pool, chain, chain.len() as u32).expect("fits");
    for (&block, &hash) in blocks.iter().zip(chain).skip(cached as usize) {
        pool.cache(block, hash);
    }
    blocks
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
    let taken: Vec<_> = (0..4).map(|_| pool.allocate().unwrap()).collect();
    assert_eq!((pool.cached_blocks(&first), pool.cached_blocks(&second)), (2, 0));
    pool.assert_conserved();
    pool.release(&taken);
    assert_eq!((pool.used(), pool.idle_cached()), (0, 2));
}

#[test]
fn cached_block_is_taken_before_a_blank_one_that_was_released_later() {
    let mut pool = BlockPool::new(2);
    let cached = fill(&mut pool, &[5]);
    let blank = pool.allocate().unwrap();
    pool.release(&cached);
    pool.release(&[blank]);
    assert_eq!(pool.allocate(), Some(cached[0]));
    assert_eq!((pool.cached_blocks(&[5]), pool.idle_cached()), (0, 0));
    pool.assert_conserved();
}

#[test]
fn blocks_that_were_never_used_are_taken_first() {
    let mut pool = BlockPool::new(3);
    let cached = fill(&mut pool, &[5]);
    pool.release(&cached);
    assert!(pool.allocate().is_some() && pool.allocate().is_some());
    assert_eq!(pool.cached_blocks(&[5]), 1);
}

#[test]
fn failed_admission_changes_nothing() {
    let mut pool = BlockPool::new(4);
    let held = fill(&mut pool, &[1, 2]);
    pool.release(&held);
    let other = fill(&mut pool, &[7, 8]);
    // Both cached blocks are free; reusing them leaves no free block for the third.
    assert!(admit(&mut pool, &[1, 2], 3).is_none());
    assert_eq!(pool.used(), 2);
    assert_eq!(admit(&mut pool, &[1, 2], 2).unwrap().cached, 2);
    assert_eq!(pool.allocate(), None);
    pool.release(&other);
    pool.assert_conserved();
}

#[test]
fn admission_needs_room_for_the_blocks_to_come_but_takes_only_the_first() {
    let mut pool = BlockPool::new(4);
    assert!(pool.admit(&[], 0, 1, 5).is_none());
    assert_eq!(pool.admit(&[], 0, 1, 4).unwrap().blocks.len(), 1);
    assert_eq!(pool.used(), 1);
}

#[test]
fn copy_replaces_the_evicted_block() {
    let mut pool = BlockPool::new(3);
    let first = fill(&mut pool, &[5]);
    let copies = [pool.allocate().unwrap(), pool.allocate().unwrap()];
    copies.iter().for_each(|&copy| pool.cache(copy, 5));
    pool.release(&first);
    pool.release(&copies[..1]);
    pool.release(&copies[1..]);
    assert_eq!(pool.idle_cached(), 3);
    let hit = |pool: &mut BlockPool| admit(pool, &[5], 1).unwrap().blocks[0];
    assert_eq!(hit(&mut pool), first[0]);
    pool.release(&first);
    assert_eq!(pool.allocate(), Some(copies[0]));
    assert_eq!(pool.allocate(), Some(copies[1]));
    assert_eq!(hit(&mut pool), first[0]);
    pool.assert_conserved();
}

/// vLLM's pool in the plainest form: a list of free blocks and the hash of every block.
struct NaivePool {
    free: Vec<u32>,
    hashes: Vec<Option<u64>>,
    references: Vec<u32>,
    /// Cached blocks in the order in which they were cached.
    cached: Vec<u32>,
}

impl NaivePool {
    fn new(capacity: u32) -> Self {
        let blocks = capacity as usize;
        Self {
            free: (0..capacity).collect(),
            hashes: vec![None; blocks],
            references: vec![0; blocks],
            cached: Vec::new(),
        }
    }

    fn find(&self, hash: u64) -> Option<u32> {
        self.cached.iter().copied().find(|&block| self.hashes[block as usize] == Some(hash))
    }

    fn admit(&mut self, chain: &[u64], count: usize) -> Option<Vec<u32>> {
        let mut blocks: Vec<u32> = chain.iter().take(count).map_while(|&hash| self.find(hash)).collect();
        let free_after_hits = self.free.iter().filter(|block| !blocks.contains(block)).count();
        if count - blocks.len() > free_after_hits {
            return None;
        }
        self.free.retain(|block| !blocks.contains(block));
        blocks.iter().for_each(|&block| self.references[block as usize] += 1);
        for position in blocks.len()..count {
            let block = self.free.remove(0);
            self.cached.retain(|&cached| cached != block);
            self.hashes[block as usize] = chain.get(position).copied();
            self.cached.extend(self.hashes[block as usize].map(|_| block));
            self.references[block as usize] = 1;
            blocks.push(block);
        }
        Some(blocks)
    }

    fn release(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            self.references[block as usize] -= 1;
            if self.references[block as usize] == 0 {
                self.free.push(block);
            }
        }
    }
}

proptest! {
    #[test]
    fn blocks_are_the_same_as_in_the_naive_pool_and_none_is_lost(
        steps in proptest::collection::vec((0u64..4, 1u64..6, any::<bool>()), 1..160),
    ) {
        let (mut pool, mut naive) = (BlockPool::new(12), NaivePool::new(12));
        let mut held: Vec<Vec<u32>> = Vec::new();
        for (family, length, release) in steps {
            if release && !held.is_empty() {
                let blocks = held.remove(family as usize % held.len());
                pool.release(&blocks);
                naive.release(&blocks);
            } else {
                let chain: Vec<u64> = (0..length).map(|position| family * 100 + position).collect();
                // The last block stays blank.
                let count = length as u32 + 1;
                let expected = naive.admit(&chain, count as usize);
                let allocation = admit(&mut pool, &chain, count);
                prop_assert_eq!(allocation.as_ref().map(|allocation| &allocation.blocks), expected.as_ref());
                if let Some(Allocation { blocks, cached }) = allocation {
                    for (&block, &hash) in blocks.iter().zip(&chain).skip(cached as usize) {
                        pool.cache(block, hash);
                    }
                    held.push(blocks);
                }
            }
            pool.assert_conserved();
        }
        held.iter().for_each(|blocks| pool.release(blocks));
        prop_assert_eq!(pool.used(), 0);
    }
}
