//! Models and machines as data: sizes, speeds, and where each figure comes from.
//!
//! The memory-bound figures follow from data sheets: reading the weights takes their size ÷ (bandwidth · 0.77), and
//! a token of context its KV values ÷ the same. 0.77 is the share of the bandwidth that vLLM 0.23 reached on an A100
//! with Llama 3.1 8B and one request (a published sweep: 75 tokens/s). What is not published for a machine is an
//! estimate and says so. [`Shape`]s are pass times that a profile must reproduce.

mod h100_70b_tp4;
mod h100_8b;
mod l40s_8b;
mod linear;
mod mi300x;

use crate::engine::{ModelConfig, PassWork};
use crate::tokenizer::TokenizerConfig;

/// A model on a machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Name on the command line.
    pub name: &'static str,
    /// What it resembles.
    pub summary: &'static str,
    /// Sizes and speeds.
    pub model: ModelConfig,
    /// Token counts.
    pub tokenizer: TokenizerConfig,
    /// Where the figures come from.
    pub sources: &'static [Source],
    /// Pass times that the model must reproduce.
    pub shapes: &'static [Shape],
}

/// Where figures of a profile come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The figures.
    pub figures: &'static str,
    /// How well they are known.
    pub basis: Basis,
    /// The source, or how the estimate is made.
    pub text: &'static str,
}

/// How well a figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Published by its makers or measured and published.
    Published,
    /// Computed from published figures.
    Computed,
    /// Assumed.
    Estimate,
}

/// A pass and the time that it takes on the machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The pass.
    pub work: PassWork,
    /// Least and greatest time, in microseconds.
    pub between_us: (u64, u64),
    /// How well the time is known.
    pub basis: Basis,
    /// Its source.
    pub text: &'static str,
}

/// The profile of a pod without `--profile`.
pub const DEFAULT: &Profile = &linear::PROFILE;

/// All profiles.
pub const ALL: [&Profile; 5] =
    [DEFAULT, &h100_8b::PROFILE, &l40s_8b::PROFILE, &h100_70b_tp4::PROFILE, &mi300x::PROFILE];

/// Returns the profile with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Profile> {
    ALL.into_iter().find(|profile| profile.name == name)
}

/// vLLM's defaults on a machine of 70 GB or more (V1, `vllm serve`).
const VLLM: ModelConfig =
    ModelConfig { pass_budget_tokens: 8_192, max_running: 1_024, max_loras: 4, ..ModelConfig::LINEAR };

/// Llama 3's tokenizer and chat template.
const LLAMA_3: TokenizerConfig = TokenizerConfig {
    token_millibytes: 4_300,
    prompt_spread_percent: 20,
    token_spread_percent: 50,
    chat_start_tokens: 26,
    chat_message_tokens: 5,
};

const LLAMA_3_SOURCES: [Source; 2] = [
    Source {
        figures: "chat_start_tokens, chat_message_tokens",
        basis: Basis::Computed,
        text: "Llama 3.1's chat template: a token for the start, a system preamble with two dates of about 25, four \
               tokens of header and one at the end of each message",
    },
    Source {
        figures: "token_millibytes and spreads",
        basis: Basis::Estimate,
        text: "English prose has about 4.5 bytes per token, code and tables 3.4 to 4",
    },
];

/// vLLM's defaults, and LoRA loads.
const VLLM_SOURCES: [Source; 2] = [
    Source {
        figures: "block_size_tokens, pass_budget_tokens, max_running",
        basis: Basis::Published,
        text: "vLLM's defaults of the V1 engine for a server on a machine of 70 GB or more",
    },
    Source {
        figures: "lora_disk_load_us, lora_host_load_us, max_loras",
        basis: Basis::Estimate,
        text: "an adapter of rank 16 to 64 has 0.1 to 0.8 GB and hundreds of tensors: 1 to 3 s to read and unpack; four \
               slots are a common setting (vLLM's default is one)",
    },
];

#[cfg(test)]
mod tests;
