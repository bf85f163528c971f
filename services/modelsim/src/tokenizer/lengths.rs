//! The lengths of the tokens of one text: a prompt, or a message of a chat.

use xxhash_rust::xxh3::xxh3_64;

use super::config::TokenizerConfig;
use crate::seeded_random;

/// Number of first bytes of a text that determine its lengths. Texts with a common beginning of this length have the
/// same tokens as far as they are equal.
const HEAD_BYTES: usize = 64;

/// Draws the lengths of a text's tokens, in order.
pub(super) struct TokenLengths {
    seed: u64,
    /// Number of tokens so far.
    index: u64,
    mean_millibytes: u64,
    token_spread_percent: u32,
    /// How far the drawn lengths are ahead of the whole bytes, so that the mean is exact.
    carry_millibytes: u64,
}

impl TokenLengths {
    pub(super) fn new(config: &TokenizerConfig, text: &[u8]) -> Self {
        let seed = xxh3_64(&text[..text.len().min(HEAD_BYTES)]);
        let mean = u64::from(config.token_millibytes);
        Self {
            seed,
            index: 1,
            mean_millibytes: spread(mean, config.prompt_spread_percent, seeded_random::mix(seed, 0)),
            token_spread_percent: config.token_spread_percent,
            carry_millibytes: 0,
        }
    }

    /// Returns whether tokens have different lengths.
    pub(super) fn vary(&self) -> bool {
        self.token_spread_percent > 0
    }

    /// Counts a token whose length is not drawn.
    pub(super) fn skip(&mut self) {
        self.index += 1;
        self.carry_millibytes = 0;
    }

    /// Returns the length of the next token in bytes, at least 1.
    pub(super) fn next(&mut self) -> usize {
        let draw = seeded_random::mix(self.seed, self.index);
        self.index += 1;
        let millibytes =
            self.carry_millibytes + spread(self.mean_millibytes, self.token_spread_percent, draw);
        self.carry_millibytes = millibytes % 1_000;
        (millibytes / 1_000).max(1) as usize
    }
}

/// Returns `mean` ± at most `percent`, by a uniform draw.
fn spread(mean: u64, percent: u32, draw: u64) -> u64 {
    let reach = mean * u64::from(percent) / 100;
    mean - reach + draw % (2 * reach + 1)
}
