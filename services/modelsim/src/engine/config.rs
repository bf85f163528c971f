//! The size and speed of a simulated model server.

use super::event::{Rejection, RequestId};
use crate::seeded_random;

/// The model and the machine it runs on. All times and rates are virtual; a pod's speed (see
/// [`crate::PodConfig`]) converts them to wall-clock time. The default is that of the profile `linear` (see
/// [`crate::profiles`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// Tokens per KV block.
    pub block_size_tokens: u32,
    /// KV cache capacity in tokens, rounded down to whole blocks.
    pub kv_capacity_tokens: u64,
    /// Maximum number of tokens computed in one pass, prompts and outputs together.
    pub pass_budget_tokens: u32,
    /// Maximum number of tokens of one request in a pass (vLLM's `long_prefill_token_threshold`); `None` means
    /// the whole budget.
    pub long_prefill_tokens: Option<u32>,
    /// Maximum number of requests in the running batch.
    pub max_running: u32,
    /// Fixed duration of a pass.
    pub pass_base_us: u64,
    /// Time to read the weights, during which prefill computes (see [`ModelConfig::pass_duration_us`]).
    pub pass_weights_us: u64,
    /// Duration that each decoding request adds to a pass.
    pub pass_per_decoding_us: u64,
    /// Prompt tokens computed per second.
    pub prefill_tokens_per_second: u32,
    /// Time that a prefilled token adds for each token before it, in picoseconds.
    pub prefill_attention_ps: u64,
    /// Time that a decoding request adds for each token of its context, in picoseconds.
    pub decode_attention_ps: u64,
    /// Device slots for LoRA adapters: the maximum number of different adapters in one batch.
    pub max_loras: u32,
    /// Number of LoRA adapters that fit into host memory, including those on the device; `None` means all.
    pub max_cpu_loras: Option<u32>,
    /// Time to load an adapter from disk.
    pub lora_disk_load_us: u64,
    /// Time to load an adapter from host memory.
    pub lora_host_load_us: u64,
    /// Mean output length of requests that do not specify one; lengths are uniform between 0.5 and 1.5 times
    /// the mean.
    pub mean_output_tokens: u32,
    /// Seed of these lengths.
    pub seed: u64,
}

impl ModelConfig {
    /// A model whose pass times are linear in tokens and requests.
    pub(crate) const LINEAR: Self = Self {
        block_size_tokens: 16,
        kv_capacity_tokens: 524_288,
        pass_budget_tokens: 2_048,
        long_prefill_tokens: None,
        max_running: 256,
        pass_base_us: 6_000,
        pass_weights_us: 0,
        pass_per_decoding_us: 350,
        prefill_tokens_per_second: 8_000,
        prefill_attention_ps: 0,
        decode_attention_ps: 0,
        max_loras: 4,
        max_cpu_loras: None,
        lora_disk_load_us: 300_000,
        lora_host_load_us: 20_000,
        mean_output_tokens: 128,
        seed: 1,
    };
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::LINEAR
    }
}

/// Maximum of a configured time: one hour.
const MAX_TIME_US: u64 = 3_600_000_000;

/// Maximum time per token of attention: one microsecond, in picoseconds.
const MAX_ATTENTION_PS: u64 = 1_000_000;

/// All problems of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct ConfigError {
    /// One sentence per problem.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// Checks `(holds, problem)` rules; returns the problems of all rules that do not hold.
    pub(crate) fn check(rules: &[(bool, &str)]) -> Result<(), Self> {
        let problems: Vec<String> =
            rules.iter().filter(|(holds, _)| !holds).map(|(_, problem)| (*problem).to_owned()).collect();
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl ModelConfig {
    /// Returns the number of whole KV blocks.
    #[must_use]
    pub fn total_blocks(&self) -> u32 {
        (self.kv_capacity_tokens / u64::from(self.block_size_tokens.max(1))) as u32
    }

    /// Returns the number of tokens in all whole KV blocks, which is the longest possible request.
    #[must_use]
    pub fn max_request_tokens(&self) -> u64 {
        u64::from(self.total_blocks()) * u64::from(self.block_size_tokens)
    }

    /// Checks that a model server with this configuration can work.
    ///
    /// # Errors
    /// Returns all problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let capacity_blocks = self.kv_capacity_tokens / u64::from(self.block_size_tokens.max(1));
        ConfigError::check(&[
            (self.block_size_tokens >= 1, "the KV block size must be at least 1 token"),
            (capacity_blocks >= 1, "the KV cache must hold at least one block"),
            // Token counts are 32 bits wide, and one request may fill the whole cache.
            (self.kv_capacity_tokens <= 1 << 31, "the KV cache must not exceed 2^31 tokens"),
            (self.max_running >= 1, "the maximum number of running requests must be at least 1"),
            (
                self.pass_budget_tokens >= self.max_running,
                "the token budget of a pass must be at least the maximum number of running requests",
            ),
            (self.prefill_tokens_per_second >= 1, "the prefill rate must be at least 1 token per second"),
            (self.max_loras >= 1, "the device must have at least one slot for LoRA adapters"),
            (
                self.max_cpu_loras.is_none_or(|capacity| capacity >= self.max_loras),
                "host memory must have room for at least as many LoRA adapters as the device has slots",
            ),
            (
                self.lora_disk_load_us.max(self.lora_host_load_us) <= MAX_TIME_US,
                "the time to load a LoRA adapter must be at most one hour",
            ),
            (
                self.pass_base_us.max(self.pass_weights_us).max(self.pass_per_decoding_us) <= MAX_TIME_US,
                "each part of a pass must take at most one hour",
            ),
            (
                self.prefill_attention_ps.max(self.decode_attention_ps) <= MAX_ATTENTION_PS,
                "attention must take at most one microsecond (1,000,000 ps) per token",
            ),
            (
                self.long_prefill_tokens != Some(0),
                "the maximum number of tokens of one request in a pass must be at least 1",
            ),
            (self.mean_output_tokens >= 1, "the mean output length must be at least 1 token"),
        ])
    }

    /// Returns how many of a request's `remaining_tokens` fit into a pass with `budget_left_tokens`.
    pub(crate) fn chunk_tokens(&self, remaining_tokens: u32, budget_left_tokens: u32) -> u32 {
        remaining_tokens.min(budget_left_tokens).min(self.long_prefill_tokens.unwrap_or(u32::MAX))
    }

    /// Returns the largest number of tokens that a request can produce, at most what fits into the KV cache.
    pub(crate) fn longest_output_tokens(&self, prompt_tokens: u32, max_output_tokens: Option<u32>) -> u32 {
        let mean = u64::from(self.mean_output_tokens);
        let longest = max_output_tokens.map_or(mean.div_ceil(2) + mean, u64::from);
        longest.min(self.max_request_tokens().saturating_sub(u64::from(prompt_tokens)) + 1) as u32
    }

    /// Returns the number of tokens that a request will produce: the requested number, or a draw that depends
    /// only on the seed and the request's number. Prompt and output must fit into the KV cache, except for
    /// the last token, which is never computed.
    pub(crate) fn output_target_tokens(
        &self,
        id: RequestId,
        prompt_tokens: u32,
        max_output_tokens: Option<u32>,
    ) -> Result<u32, Rejection> {
        let output_tokens = match max_output_tokens {
            _ if prompt_tokens == 0 => return Err(Rejection::EmptyPrompt),
            Some(0) => return Err(Rejection::NoOutput),
            Some(requested) => requested,
            None => self.draw_output_tokens(id, prompt_tokens),
        };
        let limit_tokens = self.max_request_tokens();
        if u64::from(prompt_tokens) + u64::from(output_tokens) - 1 > limit_tokens {
            return Err(Rejection::TooLarge { prompt_tokens, output_tokens, limit_tokens });
        }
        Ok(output_tokens)
    }

    fn draw_output_tokens(&self, id: RequestId, prompt_tokens: u32) -> u32 {
        let mean = u64::from(self.mean_output_tokens);
        let drawn = mean.div_ceil(2) + seeded_random::mix(self.seed, id) % mean;
        let room = self.max_request_tokens().saturating_sub(u64::from(prompt_tokens)) + 1;
        drawn.min(room) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::ModelConfig;
    use crate::engine::Rejection;

    #[test]
    fn output_length_is_the_requested_one_or_drawn_around_the_mean() {
        let config = ModelConfig { kv_capacity_tokens: 1_024, ..ModelConfig::default() };
        assert_eq!(config.output_target_tokens(1, 24, Some(1_001)), Ok(1_001));
        assert!(matches!(config.output_target_tokens(1, 24, Some(1_002)), Err(Rejection::TooLarge { .. })));
        assert_eq!(config.output_target_tokens(1, 0, None), Err(Rejection::EmptyPrompt));
        assert_eq!(config.output_target_tokens(1, 8, Some(0)), Err(Rejection::NoOutput));
        let drawn: Vec<u32> =
            (0..1_000).map(|id| config.output_target_tokens(id, 8, None).unwrap()).collect();
        assert!(drawn.iter().all(|tokens| (64..192).contains(tokens)));
        assert_eq!(config.longest_output_tokens(8, None), 192);
        assert_eq!(config.longest_output_tokens(24, Some(5_000)), 1_001);
        let mean = drawn.iter().sum::<u32>() / 1_000;
        assert!((120..136).contains(&mean), "{mean}");
        assert_eq!(config.output_target_tokens(9, 1_024, None), Ok(1));
    }
}
