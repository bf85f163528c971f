//! Pass times linear in tokens and requests.

use super::{Basis, Profile, Source};
use crate::engine::ModelConfig;
use crate::tokenizer::TokenizerConfig;

pub(super) const PROFILE: Profile = Profile {
    name: "linear",
    summary: "No machine: pass times linear in tokens and requests, four bytes per token, no chat template",
    model: ModelConfig::LINEAR,
    tokenizer: TokenizerConfig::FOUR_BYTES,
    sources: &[
        Source {
            figures: "all but the loads of adapters",
            basis: Basis::Published,
            text: "the defaults of SMG's mock worker: 8,000 prefill tokens/s, passes of 6 ms + 0.35 ms per request, \
                   2,048 tokens a pass, 256 running requests, 524,288 tokens of KV cache",
        },
        Source {
            figures: "lora_disk_load_us, lora_host_load_us, max_loras",
            basis: Basis::Estimate,
            text: "short, so that tests do not wait",
        },
    ],
    shapes: &[],
};
