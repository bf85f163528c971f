//! The configuration of the tokenizer.

use crate::engine::ConfigError;

/// How many tokens a text and a chat have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// Mean length of a token in thousandths of a byte.
    pub token_millibytes: u32,
    /// By how many percent the mean of one prompt, or of one message of a chat, differs at most from that of all.
    pub prompt_spread_percent: u32,
    /// By how many percent the length of one token differs at most from that mean.
    pub token_spread_percent: u32,
    /// Tokens before the first message of a chat.
    pub chat_start_tokens: u32,
    /// Tokens that the chat template adds to each message: all but one before its text, one after. 0 means that
    /// there is no template: a chat is the text of its roles and messages.
    pub chat_message_tokens: u32,
}

impl TokenizerConfig {
    /// Four bytes per token and no chat template.
    pub const FOUR_BYTES: Self = Self {
        token_millibytes: 4_000,
        prompt_spread_percent: 0,
        token_spread_percent: 0,
        chat_start_tokens: 0,
        chat_message_tokens: 0,
    };

    /// Checks that every token has a length.
    ///
    /// # Errors
    /// Returns all problems at once.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        // Even the shortest token has a byte.
        let shortest = u64::from(self.token_millibytes)
            * u64::from(100_u32.saturating_sub(self.prompt_spread_percent))
            * u64::from(100_u32.saturating_sub(self.token_spread_percent))
            / 10_000;
        ConfigError::check(&[
            (
                shortest >= 1_000 && self.token_millibytes <= 100_000,
                "a token must have between 1 and 100 bytes, after both spreads",
            ),
            (
                self.chat_start_tokens.max(self.chat_message_tokens) <= 10_000,
                "a chat template must add at most 10,000 tokens at the start and to each message",
            ),
        ])
    }
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self::FOUR_BYTES
    }
}
