//! Passes the bytes of a prompt to the hasher in large pieces.

use signalbox_prefix::ChainHasher;
use signalbox_types::BlockHash;

use crate::json::escapes::decode_into;

/// Bytes that are collected before they are hashed. Structured prompts consist of pieces of a few bytes, and
/// each call of the hasher costs as much as hashing a hundred.
const BUFFER_BYTES: usize = 1_024;

/// Longest piece that is collected, in bytes. Longer ones are hashed where they are.
const MAX_COLLECTED_BYTES: usize = 512;

/// Free bytes of the buffer for which it is worth to decode into it.
const MIN_DECODED_BYTES: usize = 64;

/// Hashes a chain of blocks from pieces of any size.
pub(crate) struct ChainWriter {
    chain: ChainHasher,
    buffer: [u8; BUFFER_BYTES],
    len: usize,
}

impl ChainWriter {
    /// Starts a chain with a seed, in blocks of `block_bytes`.
    pub(crate) fn new(seed: &str, block_bytes: u32) -> Self {
        Self { chain: ChainHasher::new(seed, block_bytes), buffer: [0; BUFFER_BYTES], len: 0 }
    }

    /// Adds a piece.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if bytes.len() > MAX_COLLECTED_BYTES {
            self.flush();
            self.chain.update(bytes);
            return;
        }
        if self.len + bytes.len() > BUFFER_BYTES {
            self.flush();
        }
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds the decoded content of a JSON string. Text without escapes is hashed where it is.
    pub(crate) fn write_escaped(&mut self, escaped: &str) {
        let mut rest = escaped.as_bytes();
        while !rest.is_empty() {
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            if plain == rest.len() || plain > MAX_COLLECTED_BYTES {
                self.write(&rest[..plain]);
                rest = &rest[plain..];
                continue;
            }
            if BUFFER_BYTES - self.len < MIN_DECODED_BYTES {
                self.flush();
            }
            let (read, written) = decode_into(rest, &mut self.buffer[self.len..]);
            self.len += written;
            rest = &rest[read..];
        }
    }

    /// Returns the length of what was added in bytes.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.chain.len_bytes() + self.len as u64
    }

    /// Returns the chain.
    pub(crate) fn finish(mut self) -> Vec<BlockHash> {
        self.flush();
        self.chain.finish()
    }

    fn flush(&mut self) {
        self.chain.update(&self.buffer[..self.len]);
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn escaped_text_gives_the_chain_of_the_decoded_text() {
        let text = ["a\nb\"c\\", &"plain ".repeat(300), &"\t\u{1}x".repeat(900)].concat();
        let mut writer = ChainWriter::new("m", 16);
        let json = serde_json::to_string(&text.repeat(3)).unwrap();
        writer.write(b"x");
        writer.write_escaped(&json[1..json.len() - 1]);
        let mut whole = ChainHasher::new("m", 16);
        whole.update(b"x");
        whole.update(text.repeat(3).as_bytes());
        assert_eq!(writer.len_bytes(), whole.len_bytes());
        assert_eq!(writer.finish(), whole.finish());
    }

    proptest! {
        #[test]
        fn pieces_give_the_chain_of_the_whole(pieces in vec((any::<u8>(), 0usize..1_500), 0..20)) {
            let pieces: Vec<_> = pieces.into_iter().map(|(byte, len)| vec![byte; len]).collect();
            let mut writer = ChainWriter::new("m", 16);
            pieces.iter().for_each(|piece| writer.write(piece));
            let mut whole = ChainHasher::new("m", 16);
            whole.update(&pieces.concat());
            prop_assert_eq!(writer.len_bytes(), whole.len_bytes());
            prop_assert_eq!(writer.finish(), whole.finish());
        }
    }
}
