//! The profiles: kinds of requests, with the pods that serve them.

use clap::ValueEnum;
use serde::Serialize;
use signalbox_modelsim::ModelConfig;
use signalbox_types::Format;
use signalbox_workload::BYTES_PER_TOKEN;

/// A kind of requests, and the pods that serve them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// Conversations of several turns
    Conversation,
    /// 150 groups of 5 prompts with 6,000 shared and 1,200 unique tokens
    SharedPrefix,
    /// Bursts of prompts that share a prefix
    Burst,
    /// Prompts without shared prefixes
    NoSharing,
    /// Like no-sharing, with half of the pods at half speed
    Heterogeneous,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::SharedPrefix => "shared-prefix",
            Self::Burst => "burst",
            Self::NoSharing => "no-sharing",
            Self::Heterogeneous => "heterogeneous",
        }
    }

    /// Returns whether cached prefixes can help.
    pub(crate) fn has_shared_prefixes(self) -> bool {
        matches!(self, Self::Conversation | Self::SharedPrefix | Self::Burst)
    }
}

/// Returns the tokens per block, which is the same for the pool's index and the pods' KV caches.
pub(crate) fn block_tokens() -> u32 {
    Format::default().block_bytes / BYTES_PER_TOKEN as u32
}

/// Returns whether a pod is slow in the heterogeneous profile.
pub(crate) fn is_slow(pod: usize) -> bool {
    pod % 2 == 1
}

/// Returns the model server of a pod. Pod 0 is never slow.
pub(super) fn model(profile: Profile, pod: usize) -> ModelConfig {
    let fast = ModelConfig { block_size_tokens: block_tokens(), ..ModelConfig::default() };
    if profile != Profile::Heterogeneous || !is_slow(pod) {
        return fast;
    }
    ModelConfig {
        pass_base_us: fast.pass_base_us * 2,
        pass_per_decoding_us: fast.pass_per_decoding_us * 2,
        prefill_tokens_per_second: fast.prefill_tokens_per_second / 2,
        ..fast
    }
}
