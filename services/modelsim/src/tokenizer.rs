//! A substitute for a tokenizer. One token is 4 bytes of text, rounded up; an id in a token array is one
//! token, hashed as its 4 little-endian bytes. Blocks are chained: each hash covers everything before it, and
//! the chain starts with the model's name, so that two models never share a block.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of text per token.
pub const BYTES_PER_TOKEN: usize = 4;

/// A prompt in the form that the engine uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// One hash per full block.
    pub chain: Arc<[u64]>,
    /// Length in tokens.
    pub token_count: u32,
    /// Hash of the whole prompt, including the partial last block.
    pub fingerprint: u64,
}

/// Encodes a text for one model. `block_size_tokens` must not be 0.
#[must_use]
pub fn encode_text(model: &str, text: &[u8], block_size_tokens: u32) -> EncodedPrompt {
    let root = xxh3_64(model.as_bytes());
    let block_bytes = block_size_tokens as usize * BYTES_PER_TOKEN;
    let chain = text
        .chunks_exact(block_bytes)
        .scan(root, |parent, block| {
            *parent = xxh3_64_with_seed(block, *parent);
            Some(*parent)
        })
        .collect();
    EncodedPrompt {
        chain,
        token_count: text.len().div_ceil(BYTES_PER_TOKEN) as u32,
        fingerprint: xxh3_64_with_seed(text, root),
    }
}

/// Encodes a token array for one model. `block_size_tokens` must not be 0.
#[must_use]
pub fn encode_tokens(model: &str, tokens: &[u32], block_size_tokens: u32) -> EncodedPrompt {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    encode_text(model, &bytes, block_size_tokens)
}

#[cfg(test)]
mod tests {
    use super::{encode_text, encode_tokens};

    #[test]
    fn token_count_is_rounded_up_and_only_full_blocks_are_hashed() {
        let encoded = encode_text("m", &[b'x'; 130], 16);
        assert_eq!((encoded.token_count, encoded.chain.len()), (33, 2));
        assert_eq!(encode_text("m", b"", 16).token_count, 0);
        let encoded = encode_tokens("m", &[7; 33], 16);
        assert_eq!((encoded.token_count, encoded.chain.len()), (33, 2));
    }

    #[test]
    fn chains_are_equal_up_to_the_first_difference() {
        let (mut one, two) = (vec![b'x'; 256], vec![b'x'; 256]);
        one[130] = b'y';
        let (one, two) = (encode_text("m", &one, 16), encode_text("m", &two, 16));
        assert_eq!(one.chain[..2], two.chain[..2]);
        assert_ne!(one.chain[2], two.chain[2]);
        assert_ne!(one.chain[3], two.chain[3]);
        assert_ne!(one.chain[0], one.chain[1]);
    }

    #[test]
    fn models_share_no_blocks() {
        assert_ne!(encode_text("a", &[0; 64], 16).chain, encode_text("b", &[0; 64], 16).chain);
    }
}
