//! Hashes a prompt into a chain of blocks.

use signalbox_types::BlockHash;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Hashes a prompt into a chain of blocks of equal size. The prompt can arrive in pieces of any size.
///
/// The hash of a block is XXH3 over its bytes, seeded with the hash of the block before it. The seed of the
/// first block is the hash of the model name. Equal hashes therefore mean the same model and the same bytes
/// up to and including the block. Only full blocks are hashed.
///
/// Blocks are hashed in place; only a block that spans two updates is copied.
#[derive(Debug)]
pub struct ChainHasher {
    seed: u64,
    block_bytes: usize,
    carry: Vec<u8>,
    chain: Vec<BlockHash>,
    len_bytes: u64,
}

impl ChainHasher {
    /// Starts a chain for a prompt to `model`, in blocks of `block_bytes` (at least one byte).
    pub fn new(model: &str, block_bytes: u32) -> Self {
        Self {
            seed: xxh3_64(model.as_bytes()),
            block_bytes: block_bytes.max(1) as usize,
            carry: Vec::new(),
            chain: Vec::new(),
            len_bytes: 0,
        }
    }

    /// Adds the next piece of the prompt.
    pub fn update(&mut self, bytes: &[u8]) {
        self.len_bytes += bytes.len() as u64;
        let bytes = self.fill_carry(bytes);
        self.chain.reserve(bytes.len() / self.block_bytes);
        let blocks = bytes.chunks_exact(self.block_bytes);
        let rest = blocks.remainder();
        for block in blocks {
            self.push(block);
        }
        if !rest.is_empty() {
            self.carry.reserve_exact(self.block_bytes);
            self.carry.extend_from_slice(rest);
        }
    }

    /// Returns the length of the prompt so far in bytes, including the unfinished block.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Returns the hashes of the full blocks, in order.
    pub fn finish(self) -> Vec<BlockHash> {
        self.chain
    }

    /// Fills the unfinished block from `bytes` and hashes it when full. Returns the remaining bytes; they are
    /// empty while the block is unfinished.
    fn fill_carry<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.carry.is_empty() {
            return bytes;
        }
        let missing = self.block_bytes - self.carry.len();
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.carry.extend_from_slice(head);
        if self.carry.len() == self.block_bytes {
            let block = std::mem::take(&mut self.carry);
            self.push(&block);
            self.carry = block;
            self.carry.clear();
        }
        rest
    }

    fn push(&mut self, block: &[u8]) {
        // 0 marks the parent of a first block and must never be the hash of a block.
        self.seed = xxh3_64_with_seed(block, self.seed).max(1);
        self.chain.push(BlockHash(self.seed));
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, prop_assume, proptest};

    use super::*;

    fn chain(model: &str, block_bytes: u32, bytes: &[u8]) -> Vec<BlockHash> {
        let mut hasher = ChainHasher::new(model, block_bytes);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Computes the chain directly by its definition.
    fn chain_by_definition(model: &str, block_bytes: usize, bytes: &[u8]) -> Vec<BlockHash> {
        let mut parent = xxh3_64(model.as_bytes());
        let blocks = bytes.chunks_exact(block_bytes);
        blocks
            .map(|block| {
                parent = xxh3_64_with_seed(block, parent);
                BlockHash(parent)
            })
            .collect()
    }

    #[test]
    fn only_full_blocks_are_hashed() {
        assert_eq!(chain("m", 4, b"").len(), 0);
        assert_eq!(chain("m", 4, b"abc").len(), 0);
        assert_eq!(chain("m", 4, b"abcd").len(), 1);
        assert_eq!(chain("m", 4, b"abcdefg").len(), 1);
        let mut hasher = ChainHasher::new("m", 4);
        hasher.update(b"abcde");
        assert_eq!(hasher.len_bytes(), 5);
    }

    #[test]
    fn hash_does_not_change_because_it_is_part_of_the_protocol() {
        let blocks = chain("llama3", 256, &[b'a'; 512]);
        assert_eq!(blocks, [BlockHash(0xa3be_9e07_eef8_5e76), BlockHash(0x08f2_82e7_4a65_f3c5)]);
    }

    #[test]
    fn block_size_zero_is_treated_as_one() {
        assert_eq!(chain("m", 0, b"abc"), chain("m", 1, b"abc"));
    }

    proptest! {
        #[test]
        fn chain_does_not_depend_on_how_the_prompt_is_split(
            pieces in vec(vec(any::<u8>(), 0..40), 0..20),
            block_bytes in 1u32..33,
        ) {
            let mut hasher = ChainHasher::new("m", block_bytes);
            for piece in &pieces {
                hasher.update(piece);
            }
            let whole = pieces.concat();
            prop_assert_eq!(hasher.len_bytes(), whole.len() as u64);
            prop_assert_eq!(hasher.finish(), chain_by_definition("m", block_bytes as usize, &whole));
        }

        #[test]
        fn prompts_share_exactly_the_blocks_of_their_common_prefix(
            prefix in vec(any::<u8>(), 0..200),
            one in vec(any::<u8>(), 16..64),
            other in vec(any::<u8>(), 16..64),
        ) {
            prop_assume!(one[0] != other[0]);
            let one = chain("m", 16, &[&prefix[..], &one].concat());
            let other = chain("m", 16, &[&prefix[..], &other].concat());
            let shared = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(shared, prefix.len() / 16);
        }

        #[test]
        fn different_models_share_no_blocks(bytes in vec(any::<u8>(), 16..200)) {
            let (one, other) = (chain("m", 16, &bytes), chain("n", 16, &bytes));
            prop_assert_eq!(one.iter().filter(|hash| other.contains(hash)).count(), 0);
        }
    }
}
