//! Llama 3.1 8B in BF16 on one H100 SXM 80 GB.

use super::{Basis, LLAMA_3, LLAMA_3_SOURCES, Profile, Shape, Source, VLLM, VLLM_SOURCES};
use crate::engine::{ModelConfig, PassWork};

const NO_WORK: PassWork = PassWork::NONE;

pub(super) const PROFILE: Profile = Profile {
    name: "h100-8b",
    summary: "Llama 3.1 8B in BF16 on one H100 SXM 80 GB",
    model: ModelConfig {
        kv_capacity_tokens: 420_000,
        pass_base_us: 800,
        pass_weights_us: 6_200,
        pass_per_decoding_us: 15,
        prefill_tokens_per_second: 30_000,
        prefill_attention_ps: 1_300,
        decode_attention_ps: 51_000,
        lora_disk_load_us: 1_500_000,
        lora_host_load_us: 30_000,
        ..VLLM
    },
    tokenizer: LLAMA_3,
    sources: &[
        Source {
            figures: "kv_capacity_tokens",
            basis: Basis::Computed,
            text: "80 GB · 0.9 less 16.1 GB of weights and about 1 GB of activations, at 131,072 bytes per token",
        },
        Source {
            figures: "pass_weights_us, decode_attention_ps",
            basis: Basis::Computed,
            text: "16.06 GB of weights and 131,072 bytes of KV values per token at 3.35 TB/s (data sheet) · 0.77",
        },
        Source {
            figures: "prefill_tokens_per_second",
            basis: Basis::Computed,
            text: "16 GFLOP per token at 480 of 989 TFLOPS (49 %). The calibration table of llm-d gives 15,928 tokens/s for Qwen3 32B on two H100, which is 52 % for its 64 GFLOP",
        },
        Source {
            figures: "prefill_attention_ps",
            basis: Basis::Computed,
            text: "524,288 FLOP per pair of tokens (32 layers, 4,096 wide) at 400 TFLOPS; FlashAttention 3 publishes more for long causal prompts",
        },
        Source {
            figures: "pass_base_us, pass_per_decoding_us",
            basis: Basis::Estimate,
            text: "scheduling, launch and sampling; with the second, 256 requests compute 9 µs each beyond what the weights hide",
        },
        VLLM_SOURCES[0],
        VLLM_SOURCES[1],
        LLAMA_3_SOURCES[0],
        LLAMA_3_SOURCES[1],
    ],
    shapes: &[
        Shape {
            work: PassWork { decoding: 1, decode_context_tokens: 1_000, ..NO_WORK },
            between_us: (6_200, 8_000),
            basis: Basis::Computed,
            text: "125 to 160 tokens/s for one request; 161 is what the weights alone allow at 77 % of the bandwidth",
        },
        Shape {
            work: PassWork { decoding: 64, decode_context_tokens: 64_000, ..NO_WORK },
            between_us: (9_000, 13_000),
            basis: Basis::Estimate,
            text: "64 requests of 1,000 tokens: 4,900 to 7,100 tokens/s",
        },
        Shape {
            work: PassWork { decoding: 256, decode_context_tokens: 256_000, ..NO_WORK },
            between_us: (17_000, 28_000),
            basis: Basis::Estimate,
            text: "256 requests of 1,000 tokens: 9,000 to 15,000 tokens/s",
        },
        Shape {
            work: PassWork { prefill_tokens: 8_192, prefill_token_pairs: 33_554_432, ..NO_WORK },
            between_us: (240_000, 330_000),
            basis: Basis::Computed,
            text: "a full pass of one prompt: 25,000 to 34,000 tokens/s; llm-d ships 33,821 as its peak",
        },
    ],
};
