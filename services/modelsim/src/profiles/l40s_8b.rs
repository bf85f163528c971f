//! Llama 3.1 8B in BF16 on one L40S 48 GB.

use super::{Basis, LLAMA_3, LLAMA_3_SOURCES, Profile, Shape, Source, VLLM, VLLM_SOURCES};
use crate::engine::{ModelConfig, PassWork};

const NO_WORK: PassWork = PassWork::NONE;

pub(super) const PROFILE: Profile = Profile {
    name: "l40s-8b",
    summary: "Llama 3.1 8B in BF16 on one L40S 48 GB",
    model: ModelConfig {
        kv_capacity_tokens: 200_000,
        pass_base_us: 900,
        pass_weights_us: 24_100,
        pass_per_decoding_us: 40,
        prefill_tokens_per_second: 9_000,
        prefill_attention_ps: 3_500,
        decode_attention_ps: 197_000,
        pass_budget_tokens: 2_048,
        max_running: 256,
        lora_disk_load_us: 2_000_000,
        lora_host_load_us: 50_000,
        ..VLLM
    },
    tokenizer: LLAMA_3,
    sources: &[
        Source {
            figures: "block_size_tokens, pass_budget_tokens, max_running",
            basis: Basis::Published,
            text: "vLLM's defaults of the V1 engine for a server on a machine below 70 GB",
        },
        Source {
            figures: "kv_capacity_tokens",
            basis: Basis::Computed,
            text: "48 GB · 0.9 less 16.1 GB of weights and about 1 GB of activations, at 131,072 bytes per token",
        },
        Source {
            figures: "pass_weights_us, decode_attention_ps",
            basis: Basis::Computed,
            text: "16.06 GB of weights and 131,072 bytes of KV values per token at 864 GB/s (data sheet) · 0.77",
        },
        Source {
            figures: "prefill_tokens_per_second",
            basis: Basis::Estimate,
            text: "16 GFLOP per token at 145 of 362 TFLOPS (40 %, less than an H100 for its power limit)",
        },
        Source {
            figures: "prefill_attention_ps",
            basis: Basis::Estimate,
            text: "524,288 FLOP per pair of tokens at 150 TFLOPS (FlashAttention 2)",
        },
        Source {
            figures: "pass_base_us, pass_per_decoding_us",
            basis: Basis::Estimate,
            text: "scheduling, launch and sampling; 256 requests compute beyond what the weights hide",
        },
        VLLM_SOURCES[1],
        LLAMA_3_SOURCES[0],
        LLAMA_3_SOURCES[1],
    ],
    shapes: &[
        Shape {
            work: PassWork { decoding: 1, decode_context_tokens: 1_000, ..NO_WORK },
            between_us: (23_000, 27_000),
            basis: Basis::Estimate,
            text: "37 to 43 tokens/s for one request",
        },
        Shape {
            work: PassWork { prefill_tokens: 2_048, prefill_token_pairs: 2_097_152, ..NO_WORK },
            between_us: (200_000, 300_000),
            basis: Basis::Estimate,
            text: "a full pass of one prompt: 7,000 to 10,000 tokens/s",
        },
    ],
};
