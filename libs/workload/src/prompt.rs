//! Prompts as sequences of numbered segments.

use std::sync::Arc;

use signalbox_types::BlockHash;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes per token; stands in for a tokenizer.
pub const BYTES_PER_TOKEN: usize = 4;

/// Number of tokens whose letters come from one hash: 26^12 is below 2^64.
const TOKENS_PER_DRAW: u32 = 4;

/// A part of a prompt: the first `tokens` tokens of the endless text with the number `content`. Texts with
/// different numbers have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Number of the text.
    pub content: u64,
    /// Length in tokens.
    pub tokens: u32,
}

/// A prompt: a sequence of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    segments: Arc<[Segment]>,
    tokens: u32,
}

impl Prompt {
    /// Creates a prompt from `segments`; omits empty ones.
    pub fn new(segments: impl IntoIterator<Item = Segment>) -> Self {
        let segments: Arc<[Segment]> = segments.into_iter().filter(|segment| segment.tokens > 0).collect();
        let tokens = segments.iter().fold(0_u32, |sum, segment| sum.saturating_add(segment.tokens));
        Self { segments, tokens }
    }

    /// Returns the segments; none of them is empty.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the length in tokens.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Returns the text: words of three letters and a space, [`BYTES_PER_TOKEN`] bytes per token. It is the
    /// same on every machine.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.tokens as usize * BYTES_PER_TOKEN);
        self.segments.iter().for_each(|segment| append_text(&mut text, *segment));
        text
    }

    /// Returns one hash per full block of `block_tokens` tokens (at least 1). Each covers the block and
    /// everything before it, so that two prompts share exactly as many leading hashes as leading blocks, and
    /// no other hashes.
    ///
    /// These are not the hashes that an EPP computes from the prompt's text, but they are equal where those
    /// are.
    pub fn chain(&self, block_tokens: u32) -> Vec<BlockHash> {
        let block_tokens = block_tokens.max(1);
        let mut chain = Vec::with_capacity((self.tokens / block_tokens) as usize);
        let (mut hash, mut missing_tokens) = (0, block_tokens);
        for segment in self.segments.iter() {
            let mut from = 0;
            while from < segment.tokens {
                let taken = missing_tokens.min(segment.tokens - from);
                hash = extend_hash(hash, segment.content, from, taken);
                from += taken;
                missing_tokens -= taken;
                if missing_tokens == 0 {
                    chain.push(BlockHash(hash));
                    missing_tokens = block_tokens;
                }
            }
        }
        chain
    }
}

/// Extends `hash` by `tokens` tokens of the text `content`, beginning at token `from`. Never returns 0, which
/// is not a valid block hash.
fn extend_hash(hash: u64, content: u64, from: u32, tokens: u32) -> u64 {
    let position = u64::from(from) << 32 | u64::from(tokens);
    let bytes = (u128::from(content) << 64 | u128::from(position)).to_le_bytes();
    xxh3_64_with_seed(&bytes, hash).max(1)
}

fn append_text(text: &mut String, segment: Segment) {
    let Segment { content, tokens } = segment;
    for first in (0..tokens).step_by(TOKENS_PER_DRAW as usize) {
        let mut letters = xxh3_64_with_seed(&first.to_le_bytes(), content);
        for _ in first..tokens.min(first + TOKENS_PER_DRAW) {
            for _ in 1..BYTES_PER_TOKEN {
                text.push(char::from(b'a' + (letters % 26) as u8));
                letters /= 26;
            }
            text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let segment = (0..3_u64, 0..40_u32).prop_map(|(content, tokens)| Segment { content, tokens });
        vec(segment, 0..6)
    }

    fn common<T: PartialEq>(one: &[T], other: &[T]) -> usize {
        one.iter().zip(other).take_while(|(a, b)| a == b).count()
    }

    /// Returns each token as (text, position in the text).
    fn tokens(prompt: &Prompt) -> Vec<(u64, u32)> {
        let segments = prompt.segments().iter();
        segments.flat_map(|segment| (0..segment.tokens).map(|at| (segment.content, at))).collect()
    }

    #[test]
    fn text_has_one_word_per_token_and_is_deterministic() {
        let prompt = Prompt::new([Segment { content: 7, tokens: 5 }, Segment { content: 8, tokens: 1 }]);
        let text = prompt.text();
        assert_eq!(text.len(), 6 * BYTES_PER_TOKEN);
        assert!(text.split_terminator(' ').all(|word| word.len() == 3));
        assert_eq!(text, Prompt::new(prompt.segments().to_vec()).text());
        assert!(Prompt::new([Segment { content: 7, tokens: 99 }]).text().starts_with(&text[..20]));
    }

    proptest! {
        #[test]
        fn chains_are_equal_exactly_as_far_as_the_prompts(
            one in segments(),
            other in segments(),
            block_tokens in 1..20_u32,
        ) {
            let (one, other) = (Prompt::new(one), Prompt::new(other));
            let (chain, other_chain) = (one.chain(block_tokens), other.chain(block_tokens));
            prop_assert_eq!(chain.len(), (one.tokens() / block_tokens) as usize);
            let equal = common(&chain, &other_chain);
            let (tokens, other_tokens) = (tokens(&one), tokens(&other));
            let blocks = tokens.chunks_exact(block_tokens as usize).collect::<Vec<_>>();
            let other_blocks = other_tokens.chunks_exact(block_tokens as usize).collect::<Vec<_>>();
            prop_assert_eq!(equal, common(&blocks, &other_blocks));
            let bytes = equal * block_tokens as usize * BYTES_PER_TOKEN;
            prop_assert_eq!(&one.text()[..bytes], &other.text()[..bytes]);
            prop_assert!(chain[equal..].iter().all(|hash| !other_chain.contains(hash)));
        }

        #[test]
        fn token_count_matches_the_text(segments in segments()) {
            let prompt = Prompt::new(segments);
            prop_assert_eq!(prompt.text().len(), prompt.tokens() as usize * BYTES_PER_TOKEN);
        }
    }
}
