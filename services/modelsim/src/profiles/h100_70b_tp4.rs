//! Llama 3.1 70B in BF16 on four H100 SXM 80 GB, tensor parallel.

use super::{Basis, LLAMA_3, LLAMA_3_SOURCES, Profile, Shape, Source, VLLM, VLLM_SOURCES};
use crate::engine::{ModelConfig, PassWork};

const NO_WORK: PassWork = PassWork::NONE;

pub(super) const PROFILE: Profile = Profile {
    name: "h100-70b-tp4",
    summary: "Llama 3.1 70B in BF16 on four H100 SXM 80 GB, tensor parallel",
    model: ModelConfig {
        kv_capacity_tokens: 430_000,
        pass_base_us: 2_700,
        pass_weights_us: 13_700,
        pass_per_decoding_us: 35,
        prefill_tokens_per_second: 13_000,
        prefill_attention_ps: 1_640,
        decode_attention_ps: 32_000,
        lora_disk_load_us: 3_000_000,
        lora_host_load_us: 60_000,
        ..VLLM
    },
    tokenizer: LLAMA_3,
    sources: &[
        Source {
            figures: "kv_capacity_tokens",
            basis: Basis::Computed,
            text: "320 GB · 0.9 less 141 GB of weights and about 6 GB of activations, at 327,680 bytes per token",
        },
        Source {
            figures: "pass_weights_us, decode_attention_ps",
            basis: Basis::Computed,
            text: "141 GB of weights and 327,680 bytes of KV values per token, on four times 3.35 TB/s (data sheet) · 0.77",
        },
        Source {
            figures: "prefill_tokens_per_second",
            basis: Basis::Computed,
            text: "141 GFLOP per token at 4 · 458 TFLOPS, 46 % of the data sheet: llm-d measured 52 % for Qwen3 32B on two H100, and four lose more to communication",
        },
        Source {
            figures: "prefill_attention_ps",
            basis: Basis::Computed,
            text: "2,621,440 FLOP per pair of tokens (80 layers, 8,192 wide) at 4 · 400 TFLOPS",
        },
        Source {
            figures: "pass_base_us",
            basis: Basis::Computed,
            text: "scheduling and launch, and 160 reductions among the four of about 12 µs each",
        },
        Source {
            figures: "pass_per_decoding_us",
            basis: Basis::Estimate,
            text: "sampling, and what 256 requests compute beyond what the weights hide",
        },
        VLLM_SOURCES[0],
        VLLM_SOURCES[1],
        LLAMA_3_SOURCES[0],
        LLAMA_3_SOURCES[1],
    ],
    shapes: &[
        Shape {
            work: PassWork { decoding: 1, decode_context_tokens: 1_000, ..NO_WORK },
            between_us: (15_000, 20_000),
            basis: Basis::Computed,
            text: "50 to 66 tokens/s for one request; 73 is what the weights alone allow at 77 % of the bandwidth",
        },
        Shape {
            work: PassWork { decoding: 64, decode_context_tokens: 64_000, ..NO_WORK },
            between_us: (18_000, 27_000),
            basis: Basis::Estimate,
            text: "64 requests of 1,000 tokens: 2,400 to 3,600 tokens/s",
        },
        Shape {
            work: PassWork { prefill_tokens: 8_192, prefill_token_pairs: 33_554_432, ..NO_WORK },
            between_us: (580_000, 760_000),
            basis: Basis::Computed,
            text: "a full pass of one prompt: 10,800 to 14,000 tokens/s",
        },
    ],
};
