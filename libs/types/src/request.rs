//! The properties of a request that a decision reads.

use serde::{Deserialize, Serialize};

use crate::prompt_size::PromptSize;
use crate::subset::Subset;
use crate::token_ratio::TokenRatio;

/// The properties of a request that a decision reads, except for the prefix matches of its prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Requested model or adapter; empty if the request does not name one.
    pub model: String,
    /// Prompt length in tokens: exact if the request contains tokens, else an estimate from `prompt`.
    pub prompt_tokens: u64,
    /// The parts of the prompt, from which its tokens and those of its blocks are computed. Empty if the body
    /// was not read.
    #[serde(default, skip_serializing_if = "PromptSize::is_empty")]
    pub prompt: PromptSize,
    /// How many tokens the model makes of the prompt's parts, and of its answers.
    #[serde(default, skip_serializing_if = "TokenRatio::is_default")]
    pub token_ratio: TokenRatio,
    /// Limit on output tokens, if the client sets one.
    pub max_output_tokens: Option<u64>,
    /// Priority from the objective. 0 is the default; requests with a negative priority can be shed.
    #[serde(default, skip_serializing_if = "is_default_priority")]
    pub priority: i32,
    /// Whose request it is among those of one priority: the fairness id, else the name of the objective. `None` if the
    /// client names neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Goal for the time to the first token in milliseconds, if the client sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_goal_ms: Option<u32>,
    /// Goal for the time per output token in milliseconds, if the client sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_goal_ms: Option<u32>,
    /// Endpoints that the gateway allows; `None` if it allows all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// Headers that the policy reads, in the order in which the policy lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

fn is_default_priority(priority: &i32) -> bool {
    *priority == 0
}

impl Request {
    /// Applies what is known about the model's tokens: sets the ratio, and computes the prompt's tokens from its
    /// parts if they are known.
    pub fn apply_token_ratio(&mut self, ratio: TokenRatio) {
        self.token_ratio = ratio;
        if !self.prompt.is_empty() {
            self.prompt_tokens = ratio.tokens(&self.prompt);
        }
    }

    /// Returns how many output tokens are expected: the mean of the model, at most the request's own limit.
    pub fn expected_output_tokens(&self) -> u64 {
        let mean_tokens = u64::from(self.token_ratio.output_tokens);
        self.max_output_tokens.map_or(mean_tokens, |limit| limit.min(mean_tokens))
    }

    /// Returns the tokens of the prompt's first `blocks` blocks. Without the parts of the prompt, all of it counts
    /// as text.
    pub fn tokens_in_blocks(&self, blocks: usize, block_bytes: u32) -> u64 {
        if blocks == 0 {
            0
        } else if self.prompt.is_empty() {
            self.token_ratio.text_tokens((blocks as u64).saturating_mul(block_bytes.into()))
        } else {
            self.token_ratio.tokens_in_blocks(&self.prompt, blocks, block_bytes)
        }
    }

    /// Returns the number of leading blocks, at most `blocks`, that `tokens` of the `prompt_tokens` tokens cover
    /// that an engine counts in the prompt. Blocks of which a part is covered do not count.
    pub fn blocks_of_tokens(
        &self,
        tokens: u64,
        prompt_tokens: u64,
        blocks: usize,
        block_bytes: u32,
    ) -> usize {
        let scaled = |blocks| {
            let predicted = u128::from(self.tokens_in_blocks(blocks, block_bytes));
            predicted * u128::from(prompt_tokens) / u128::from(self.prompt_tokens.max(1))
        };
        let (mut covered, mut uncovered) = (0, blocks + 1);
        while covered + 1 < uncovered {
            let middle = covered.midpoint(uncovered);
            if scaled(middle) <= u128::from(tokens) { covered = middle } else { uncovered = middle }
        }
        covered
    }
    /// Returns the value of the header `name`, if the policy reads it and the request has it. Names are
    /// case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::prompt_size::{MediaKind, MediaTokens};

    const BLOCK_BYTES: u32 = 256;

    fn request(text_bytes: u64) -> Request {
        let prompt = PromptSize { text_bytes, ..PromptSize::default() };
        let mut request = Request { prompt, ..Request::default() };
        request.apply_token_ratio(TokenRatio {
            bytes_per_token_milli: 2_000,
            media_percent: 50,
            ..TokenRatio::default()
        });
        request
    }

    #[test]
    fn learned_ratio_determines_the_tokens_of_the_prompt_and_its_blocks() {
        let request = request(25_600);
        assert_eq!((12_800, 1_280), (request.prompt_tokens, request.tokens_in_blocks(10, BLOCK_BYTES)));
        let mut unread = Request { prompt_tokens: 7, ..Request::default() };
        unread.apply_token_ratio(request.token_ratio);
        assert_eq!((7, 1_280), (unread.prompt_tokens, unread.tokens_in_blocks(10, BLOCK_BYTES)));
    }

    #[test]
    fn reported_tokens_are_found_in_the_blocks_regardless_of_the_engines_count() {
        let request = request(25_600);
        for prompt_tokens in [3_200, 12_800, 25_600] {
            for blocks in [0, 1, 7, 99, 100] {
                let tokens = prompt_tokens * blocks / 100;
                let found = request.blocks_of_tokens(tokens, prompt_tokens, 100, BLOCK_BYTES);
                assert_eq!(blocks as usize, found, "{tokens} of {prompt_tokens}");
            }
        }
    }

    #[test]
    fn image_at_the_beginning_counts_with_its_block() {
        let mut request = request(25_600);
        request.prompt.media = smallvec![MediaTokens { kind: MediaKind::Image, block: 0, tokens: 2_000 }];
        request.apply_token_ratio(request.token_ratio);
        assert_eq!(13_800, request.prompt_tokens);
        assert_eq!(0, request.blocks_of_tokens(900, 13_800, 100, BLOCK_BYTES));
        assert_eq!(1, request.blocks_of_tokens(1_200, 13_800, 100, BLOCK_BYTES));
    }
}
