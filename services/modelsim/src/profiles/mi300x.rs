//! Llama 3.1 8B in BF16 on one MI300X 192 GB.

use super::{Basis, LLAMA_3, LLAMA_3_SOURCES, Profile, Shape, Source, VLLM, VLLM_SOURCES};
use crate::engine::{ModelConfig, PassWork};

const NO_WORK: PassWork = PassWork::NONE;

pub(super) const PROFILE: Profile = Profile {
    name: "mi300x",
    summary: "Llama 3.1 8B in BF16 on one MI300X 192 GB",
    model: ModelConfig {
        kv_capacity_tokens: 1_180_000,
        pass_base_us: 2_000,
        pass_weights_us: 5_000,
        pass_per_decoding_us: 35,
        prefill_tokens_per_second: 26_000,
        prefill_attention_ps: 1_750,
        decode_attention_ps: 41_000,
        lora_disk_load_us: 1_500_000,
        lora_host_load_us: 30_000,
        ..VLLM
    },
    tokenizer: LLAMA_3,
    sources: &[
        Source {
            figures: "kv_capacity_tokens",
            basis: Basis::Computed,
            text: "192 GB · 0.9 less 16.1 GB of weights and about 2 GB of activations, at 131,072 bytes per token",
        },
        Source {
            figures: "pass_weights_us, decode_attention_ps",
            basis: Basis::Estimate,
            text: "16.06 GB of weights and 131,072 bytes of KV values per token at 5.3 TB/s (data sheet) · 0.6: reports put the reached share below that of NVIDIA machines",
        },
        Source {
            figures: "prefill_tokens_per_second",
            basis: Basis::Estimate,
            text: "16 GFLOP per token at 415 of 1,307 TFLOPS (32 %)",
        },
        Source {
            figures: "prefill_attention_ps",
            basis: Basis::Estimate,
            text: "524,288 FLOP per pair of tokens at 300 TFLOPS",
        },
        Source {
            figures: "pass_base_us, pass_per_decoding_us",
            basis: Basis::Estimate,
            text: "slower launches than on NVIDIA machines. A published sweep of Llama 3.1 405B in FP8 on eight (vLLM, 128 tokens in and out) has 27.6 ms per token for one request and 54 ms for 64: each adds 1.5 % of the first",
        },
        VLLM_SOURCES[0],
        VLLM_SOURCES[1],
        LLAMA_3_SOURCES[0],
        LLAMA_3_SOURCES[1],
    ],
    shapes: &[
        Shape {
            work: PassWork { decoding: 1, decode_context_tokens: 1_000, ..NO_WORK },
            between_us: (5_500, 9_000),
            basis: Basis::Estimate,
            text: "110 to 180 tokens/s for one request",
        },
        Shape {
            work: PassWork { prefill_tokens: 8_192, prefill_token_pairs: 33_554_432, ..NO_WORK },
            between_us: (300_000, 420_000),
            basis: Basis::Estimate,
            text: "a full pass of one prompt: 19,500 to 27,000 tokens/s",
        },
    ],
};
