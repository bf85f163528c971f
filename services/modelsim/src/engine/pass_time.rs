//! How long a pass takes.

use super::config::ModelConfig;

const PICOSECONDS_PER_MICROSECOND: u64 = 1_000_000;

/// The work of one pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassWork {
    /// Number of requests that compute one output token each.
    pub decoding: u32,
    /// Sum of the contexts of these requests, in tokens.
    pub decode_context_tokens: u64,
    /// Number of tokens prefilled.
    pub prefill_tokens: u32,
    /// Number of pairs of a prefilled token and a token before it.
    pub prefill_token_pairs: u64,
    /// Time to load LoRA adapters. The pass begins when they are on the device.
    pub load_us: u64,
}

impl PassWork {
    /// A pass without work.
    pub const NONE: Self =
        Self { decoding: 0, decode_context_tokens: 0, prefill_tokens: 0, prefill_token_pairs: 0, load_us: 0 };

    pub(super) fn is_empty(&self) -> bool {
        self.decoding == 0 && self.prefill_tokens == 0
    }
}

impl ModelConfig {
    /// Returns the duration of a pass, at least 1 µs:
    ///
    /// load + base + max(reading the weights, prefill tokens ÷ prefill rate) + decoding requests · their time +
    /// attention of the prefilled tokens + attention of the decoding requests
    ///
    /// The maximum is the shape that chunked prefill lives on: reading the weights takes its time in any case,
    /// and a chunk that computes no longer than that is free beside decoding requests.
    #[must_use]
    pub fn pass_duration_us(&self, work: &PassWork) -> u64 {
        let prefill_us =
            (u64::from(work.prefill_tokens) * 1_000_000).div_ceil(u64::from(self.prefill_tokens_per_second));
        let decode_us = self.pass_per_decoding_us * u64::from(work.decoding);
        let attention_ps = u128::from(self.prefill_attention_ps) * u128::from(work.prefill_token_pairs)
            + u128::from(self.decode_attention_ps) * u128::from(work.decode_context_tokens);
        let attention_us = attention_ps.div_ceil(u128::from(PICOSECONDS_PER_MICROSECOND)) as u64;
        let compute_us = self.pass_base_us + prefill_us.max(self.pass_weights_us) + decode_us + attention_us;
        // With a duration of 0 virtual time would never advance.
        (work.load_us + compute_us).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::PassWork;
    use crate::engine::ModelConfig;

    #[test]
    fn pass_duration_is_the_sum_of_its_parts() {
        let work = PassWork { decoding: 10, prefill_tokens: 2_038, ..PassWork::default() };
        assert_eq!(ModelConfig::default().pass_duration_us(&work), 6_000 + 3_500 + 254_750);
        let config = ModelConfig {
            prefill_attention_ps: 1_500,
            decode_attention_ps: 50_000,
            ..ModelConfig::default()
        };
        let work = PassWork {
            decode_context_tokens: 40_000,
            prefill_token_pairs: 4_000_000,
            load_us: 1_000_000,
            ..work
        };
        assert_eq!(config.pass_duration_us(&work), 1_000_000 + 264_250 + 6_000 + 2_000);
    }

    #[test]
    fn prefill_is_free_while_the_weights_are_read() {
        let config = ModelConfig { pass_weights_us: 8_000, ..ModelConfig::default() };
        let duration = |prefill_tokens| {
            config.pass_duration_us(&PassWork { decoding: 1, prefill_tokens, ..PassWork::default() })
        };
        // 64 tokens at 8,000 tokens per second take 8 ms.
        assert_eq!([0, 64, 72].map(duration), [14_350, 14_350, 15_350]);
    }
}
