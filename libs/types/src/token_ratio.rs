//! How many tokens a model makes of a prompt, and of an answer.

use serde::{Deserialize, Serialize};

use crate::prompt_size::PromptSize;

/// How many tokens a model makes of text and media, and of an answer, as learned from the usage that engines report. The
/// default applies until something was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRatio {
    /// Bytes of text per token, in thousandths. One of [`Self::BYTES_PER_TOKEN_MILLI`].
    pub bytes_per_token_milli: u32,
    /// Weight of media relative to [`crate::MediaWeights`], in percent. One of [`Self::MEDIA_PERCENT`].
    pub media_percent: u32,
    /// Mean output tokens of a response. One of [`Self::OUTPUT_TOKENS`].
    #[serde(default = "default_output_tokens")]
    pub output_tokens: u32,
}

fn default_output_tokens() -> u32 {
    TokenRatio::DEFAULT_OUTPUT_TOKENS
}

impl Default for TokenRatio {
    fn default() -> Self {
        Self {
            bytes_per_token_milli: PromptSize::DEFAULT_BYTES_PER_TOKEN_MILLI,
            media_percent: 100,
            output_tokens: Self::DEFAULT_OUTPUT_TOKENS,
        }
    }
}

impl TokenRatio {
    /// The valid bytes of text per token, in thousandths: from one token per byte, for text without any merges, to
    /// 16 bytes, more than tokenizers reach on source code or whitespace.
    pub const BYTES_PER_TOKEN_MILLI: std::ops::RangeInclusive<u32> = 1_000..=16_000;

    /// The valid weights of media, in percent: engines differ by up to 8 times in the tokens of one image.
    pub const MEDIA_PERCENT: std::ops::RangeInclusive<u32> = 12..=800;

    /// The valid mean output tokens of a response: from one, as of a classifier, to more than models write on average.
    pub const OUTPUT_TOKENS: std::ops::RangeInclusive<u32> = 1..=65_536;

    /// Output tokens of a response until something was learned.
    pub const DEFAULT_OUTPUT_TOKENS: u32 = 256;

    /// Returns whether all values are valid.
    pub fn is_valid(&self) -> bool {
        Self::BYTES_PER_TOKEN_MILLI.contains(&self.bytes_per_token_milli)
            && Self::MEDIA_PERCENT.contains(&self.media_percent)
            && Self::OUTPUT_TOKENS.contains(&self.output_tokens)
    }

    /// Returns whether this is the default, so that nothing was learned.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the tokens of a prompt.
    pub fn tokens(&self, prompt: &PromptSize) -> u64 {
        prompt.tokens(self.bytes_per_token_milli, self.media_percent)
    }

    /// Returns the tokens of the first `blocks` blocks of a prompt, at most those of the whole prompt.
    pub fn tokens_in_blocks(&self, prompt: &PromptSize, blocks: usize, block_bytes: u32) -> u64 {
        prompt.tokens_in_blocks(blocks, block_bytes, self.bytes_per_token_milli, self.media_percent)
    }

    /// Returns the tokens of `bytes` bytes of text, rounded down.
    pub fn text_tokens(&self, bytes: u64) -> u64 {
        let tokens = u128::from(bytes) * 1_000 / u128::from(self.bytes_per_token_milli.max(1));
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }
}
