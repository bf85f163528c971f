//! A simulated model server: OpenAI endpoints over a simulated scheduler and KV cache, without a GPU.
//!
//! * [`engine`]: the pure core, `step(now, input) → effects` in virtual time, with a token budget per pass,
//!   chunked prefill, continuous batching, prefix caching of prompts and outputs, LRU eviction, preemption and
//!   LoRA slots. Benchmarks drive it directly.
//! * [`profiles`]: models and machines, with the source of each figure.
//! * [`tokenizer`]: converts prompts into the engine's block chains.
//! * [`ModelServer`]: one pod, an HTTP server around one engine. [`Fleet`]: several pods in this process.
//!
//! Not simulated: weights (outputs are filler words), sampling (the same prompt always gets the same output), and
//! several ranks. `docs/MODELSIM.md` says what each simplification can do to a result.

pub mod app;
mod config;
pub mod engine;
mod flags;
mod fleet;
mod http;
mod pod;
pub mod profiles;
mod seeded_random;
mod server;
pub mod tokenizer;

pub use config::{PodConfig, adapter_names};
pub use engine::{ConfigError, ModelConfig};
pub use flags::{Flags, OutputFormat};
pub use fleet::{Fleet, FleetConfig, FleetError};
pub use pod::{EngineFault, Faults, FaultsError, MetricsFault};
pub use server::{ModelServer, StartError};
