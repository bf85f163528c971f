//! What a prompt consists of, and what it weighs in tokens.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Bytes of text that count as one token where nothing better is known: there is no tokenizer.
pub const BYTES_PER_TOKEN: u32 = 4;

/// The parts of a prompt that weigh differently.
///
/// The parts say where they are in the prompt's chain, so that the tokens of its first blocks can be computed
/// once it is known how many bytes of text and how much of a medium's weight make one token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSize {
    /// Hashed text in bytes: UTF-8 without JSON escapes, and one byte for each mark where a message, a field
    /// or a value begins or ends.
    #[serde(default)]
    pub text_bytes: u64,
    /// Number of token ids. Each is 4 bytes of the chain.
    #[serde(default)]
    pub token_ids: u64,
    /// The media, in their order in the prompt.
    #[serde(default, skip_serializing_if = "SmallVec::is_empty")]
    pub media: SmallVec<[MediaTokens; 2]>,
}

/// A medium in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaTokens {
    /// Its kind.
    pub kind: MediaKind,
    /// Index of the block of the chain in which the medium's digest ends. It may be the unfinished last one.
    pub block: u32,
    /// Its weight in tokens, before anything was learnt.
    pub tokens: u32,
}

/// The kinds of content that are not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// An image.
    Image,
    /// An audio clip.
    Audio,
    /// A video.
    Video,
    /// A file, such as a PDF.
    File,
    /// Reasoning that only the service that produced it can read.
    EncryptedReasoning,
    /// A signature of reasoning.
    Signature,
}

impl MediaTokens {
    /// Bytes of the chain that a medium takes: a mark, its kind and a digest of 16 bytes.
    pub const CHAIN_BYTES: u64 = 18;
}

impl PromptSize {
    /// Maximum number of media that are kept. The tokens of later ones are added to the last.
    pub const MAX_MEDIA: usize = 1_024;

    /// Bytes of text per token, in thousandths, before anything was learnt about a model.
    pub const DEFAULT_BYTES_PER_TOKEN_MILLI: u32 = BYTES_PER_TOKEN * 1_000;

    /// Returns whether the prompt has no parts.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a medium after those that are there.
    pub fn add_medium(&mut self, medium: MediaTokens) {
        if self.media.len() < Self::MAX_MEDIA {
            self.media.push(medium);
        } else if let Some(last) = self.media.last_mut() {
            last.tokens = last.tokens.saturating_add(medium.tokens);
        }
    }

    /// Returns the tokens of the prompt: one per token id, one per `bytes_per_token_milli` thousandths of a
    /// byte of text (0 counts as 1), and `media_percent` percent of the weight of the media.
    pub fn tokens(&self, bytes_per_token_milli: u32, media_percent: u32) -> u64 {
        let media = media_tokens(&self.media, media_percent);
        narrowed(self.linear_tokens(bytes_per_token_milli).saturating_add(media))
    }

    /// Returns the tokens of the prompt's first `blocks` blocks of `block_bytes` bytes: the share of its text
    /// and ids that lies in them, rounded down, and the media whose digests end in them. The result is never
    /// above [`Self::tokens`].
    pub fn tokens_in_blocks(
        &self,
        blocks: usize,
        block_bytes: u32,
        bytes_per_token_milli: u32,
        media_percent: u32,
    ) -> u64 {
        // Media are in the order of their blocks.
        let media = &self.media[..self.media.partition_point(|medium| (medium.block as usize) < blocks)];
        let digest_bytes = media.len() as u64 * MediaTokens::CHAIN_BYTES;
        let covered_bytes = (blocks as u64).saturating_mul(block_bytes.into()).saturating_sub(digest_bytes);
        let linear_bytes = self.text_bytes.saturating_add(self.token_ids.saturating_mul(4));
        let covered_bytes = u128::from(covered_bytes.min(linear_bytes));
        let linear = self.linear_tokens(bytes_per_token_milli).saturating_mul(covered_bytes)
            / u128::from(linear_bytes.max(1));
        narrowed(linear.saturating_add(media_tokens(media, media_percent)))
    }

    /// Returns the tokens of the text and the ids.
    fn linear_tokens(&self, bytes_per_token_milli: u32) -> u128 {
        let text = (u128::from(self.text_bytes) * 1_000).div_ceil(bytes_per_token_milli.max(1).into());
        text + u128::from(self.token_ids)
    }
}

fn media_tokens(media: &[MediaTokens], media_percent: u32) -> u128 {
    let tokens: u128 = media.iter().map(|medium| u128::from(medium.tokens)).sum();
    tokens * u128::from(media_percent) / 100
}

fn narrowed(tokens: u128) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
    use smallvec::smallvec;

    use super::*;

    const fn image(block: u32, tokens: u32) -> MediaTokens {
        MediaTokens { kind: MediaKind::Image, block, tokens }
    }

    #[test]
    fn total_adds_up_text_ids_and_media() {
        let size = PromptSize { text_bytes: 10, token_ids: 5, media: smallvec![image(0, 100), image(1, 11)] };
        assert_eq!(size.tokens(4_000, 100), 3 + 5 + 111);
        assert_eq!(size.tokens(2_500, 50), 4 + 5 + 55);
        assert_eq!(size.tokens(0, 0), 10_000 + 5);
    }

    #[test]
    fn text_and_ids_count_in_proportion_to_their_blocks() {
        let text = PromptSize { text_bytes: 1_001, ..PromptSize::default() };
        let tokens = [0, 1, 2, 3, 4].map(|blocks| text.tokens_in_blocks(blocks, 256, 4_000, 100));
        assert_eq!(tokens, [0, 64, 128, 192, 251]);
        assert_eq!(text.tokens_in_blocks(3, 256, 3_000, 100), 256);
        let ids = PromptSize { token_ids: 1_000, ..PromptSize::default() };
        assert_eq!(ids.tokens_in_blocks(3, 256, 4_000, 100), 192);
    }

    #[test]
    fn medium_counts_once_its_block_is_included() {
        let size = PromptSize { text_bytes: 1_024 - 18, token_ids: 0, media: smallvec![image(1, 500)] };
        assert_eq!(size.tokens_in_blocks(1, 256, 4_000, 100), 64);
        assert_eq!(size.tokens_in_blocks(2, 256, 4_000, 100), 500 + (512 - 18) / 4);
        assert_eq!(size.tokens_in_blocks(2, 256, 4_000, 10), 50 + (512 - 18) / 4);
        assert_eq!(size.tokens_in_blocks(4, 256, 4_000, 100), size.tokens(4_000, 100));
    }

    #[test]
    fn number_of_kept_media_is_bounded_and_their_tokens_are_not_lost() {
        let mut size = PromptSize::default();
        (0..PromptSize::MAX_MEDIA as u32 + 10).for_each(|block| size.add_medium(image(block, 2)));
        assert_eq!(size.media.len(), PromptSize::MAX_MEDIA);
        assert_eq!(size.tokens(4_000, 100), 2 * (PromptSize::MAX_MEDIA as u64 + 10));
    }

    fn sizes() -> impl Strategy<Value = PromptSize> {
        let media = vec((0u32..50, any::<u32>()), 0..6);
        (any::<u64>(), any::<u64>(), 0u64..20_000, media).prop_map(|(wild, token_ids, bytes, mut media)| {
            media.sort_unstable_by_key(|(block, _)| *block);
            let media = media.into_iter().map(|(block, tokens)| image(block, tokens)).collect();
            let text_bytes = if wild % 4 == 0 { wild >> 4 } else { bytes };
            PromptSize { text_bytes, token_ids: token_ids >> (8 + wild % 56), media }
        })
    }

    proptest! {
        #[test]
        fn blocks_never_weigh_more_than_the_prompt(
            size in sizes(),
            blocks in 0usize..60,
            block_bytes in 1u32..600,
            bytes_per_token_milli in 0u32..20_000,
            media_percent in 0u32..500,
        ) {
            let tokens = |blocks| size.tokens_in_blocks(blocks, block_bytes, bytes_per_token_milli, media_percent);
            let total = size.tokens(bytes_per_token_milli, media_percent);
            prop_assert!(tokens(blocks) <= total);
            prop_assert_eq!(tokens(usize::MAX), total);
            if block_bytes >= 18 * 6 {
                prop_assert!(tokens(blocks) <= tokens(blocks + 1));
            }
        }
    }
}
