//! The KV block pool, as vLLM V1 has it: reference counts, a prefix cache by block hash, and one queue of free
//! blocks.
//!
//! A block is free when no request references it. All free blocks wait in one queue, whether they are blank or
//! still hold a cached block. The queue begins with the blocks that were never used; released blocks go to its
//! end, the last block of a request first, so that a chain loses its tail before its head. A cache hit removes
//! its block from the queue. Allocation takes the head of the queue, and evicts what it holds: a cached block
//! can therefore be lost while younger blank blocks are free.
//!
//! Two requests that compute the same block at the same time keep a copy each. The oldest copy is the one that
//! is hit; the others take its place when it is evicted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::free_queue::FreeQueue;

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
    /// The next younger copy of the same cached block.
    next_copy: Option<u32>,
}

/// All KV blocks of one model server.
pub(super) struct BlockPool {
    /// Grows up to `capacity` as blocks are used for the first time, so that a pool that is never filled
    /// stays small. The blocks beyond its end are at the head of the free queue.
    blocks: Vec<Block>,
    capacity: u32,
    /// The free blocks that were used before.
    released: FreeQueue,
    /// The oldest copy of each cached block.
    by_hash: HashMap<u64, u32, BuildHasherDefault<BlockHasher>>,
    used: u32,
    /// Number of free blocks that hold a cached block.
    idle_cached: u32,
}

/// The blocks that a request gets on admission.
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
            released: FreeQueue::new(),
            by_hash: HashMap::default(),
            used: 0,
            idle_cached: 0,
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns the number of blocks that at least one request references.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Returns the number of free blocks that the prefix cache can still serve.
    pub(super) fn idle_cached(&self) -> u32 {
        self.idle_cached
    }

    fn free(&self) -> u32 {
        self.capacity - self.used
    }

    /// Returns the number of leading blocks of `chain` that are cached.
    pub(super) fn cached_blocks(&self, chain: &[u64]) -> u32 {
        chain.iter().take_while(|hash| self.by_hash.contains_key(hash)).count() as u32
    }

    /// Allocates `now` blocks to a request, beginning with its cached ones, the first `cached` of `chain` (see
    /// [`BlockPool::cached_blocks`]). Returns `None` and changes nothing unless `eventually` blocks fit, `now`
    /// being a part of them.
    pub(super) fn admit(
        &mut self,
        chain: &[u64],
        cached: u32,
        now: u32,
        eventually: u32,
    ) -> Option<Allocation> {
        let hits = &chain[..cached as usize];
        let mut blocks = Vec::with_capacity(eventually as usize);
        blocks.extend(hits.iter().filter_map(|hash| self.by_hash.get(hash).copied()));
        // Free hits leave the queue and are then missing for the other blocks.
        let free_hits =
            blocks.iter().filter(|&&block| self.blocks[block as usize].references == 0).count() as u32;
        if eventually - cached > self.free() - free_hits {
            return None;
        }
        for &block in &blocks {
            self.reference(block);
        }
        for _ in cached..now {
            blocks.push(self.allocate().expect("the free blocks were counted above"));
        }
        Some(Allocation { blocks, cached })
    }

    /// Takes the head of the free queue, evicts what it holds, and returns it as a blank block. Returns `None`
    /// when no block is free.
    pub(super) fn allocate(&mut self) -> Option<u32> {
        let block = if (self.blocks.len() as u32) < self.capacity {
            self.blocks.push(Block::default());
            self.blocks.len() as u32 - 1
        } else {
            let oldest = self.released.take_oldest()?;
            self.evict(oldest);
            oldest
        };
        self.blocks[block as usize].references = 1;
        self.used += 1;
        Some(block)
    }

    /// Adds a referenced block to the prefix cache, as its youngest copy.
    pub(super) fn cache(&mut self, block: u32, hash: u64) {
        self.blocks[block as usize].hash = Some(hash);
        match self.by_hash.entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(block);
            }
            Entry::Occupied(entry) => {
                let mut last = *entry.get();
                while let Some(next) = self.blocks[last as usize].next_copy {
                    last = next;
                }
                self.blocks[last as usize].next_copy = Some(block);
            }
        }
    }

    /// Drops one reference to each block, the last block first, so that a chain is evicted from its tail.
    pub(super) fn release(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            let entry = &mut self.blocks[block as usize];
            entry.references =
                entry.references.checked_sub(1).expect("a request releases only its own blocks");
            if entry.references == 0 {
                self.used -= 1;
                self.idle_cached += u32::from(entry.hash.is_some());
                self.released.push_newest(block);
            }
        }
    }

    fn reference(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.references == 0 {
            self.released.remove(block);
            self.used += 1;
            self.idle_cached -= 1;
        }
        entry.references += 1;
    }

    /// Removes what a free block holds from the prefix cache.
    fn evict(&mut self, block: u32) {
        let Some(hash) = self.blocks[block as usize].hash.take() else { return };
        self.idle_cached -= 1;
        let next = self.blocks[block as usize].next_copy.take();
        let first = self.by_hash[&hash];
        if first == block {
            match next {
                Some(next) => self.by_hash.insert(hash, next),
                None => self.by_hash.remove(&hash),
            };
            return;
        }
        let mut before = first;
        while self.blocks[before as usize].next_copy != Some(block) {
            before = self.blocks[before as usize].next_copy.expect("every copy is in the list of its hash");
        }
        self.blocks[before as usize].next_copy = next;
    }

    /// Recounts all blocks and compares them with the running totals.
    #[cfg(test)]
    pub(super) fn assert_conserved(&self) {
        let count = |is: &dyn Fn(&Block) -> bool| self.blocks.iter().filter(|block| is(block)).count() as u32;
        assert_eq!(count(&|block| block.references > 0), self.used);
        assert_eq!(count(&|block| block.references == 0 && block.hash.is_some()), self.idle_cached);
        let never_used = self.capacity - self.blocks.len() as u32;
        assert_eq!(self.used + self.released.len() + never_used, self.capacity);
        let mut copies = 0;
        for (&hash, &first) in &self.by_hash {
            let mut next = Some(first);
            while let Some(block) = next {
                assert_eq!(self.blocks[block as usize].hash, Some(hash));
                copies += 1;
                next = self.blocks[block as usize].next_copy;
            }
        }
        assert_eq!(copies, count(&|block| block.hash.is_some()));
    }
}
