//! A model server without a GPU: OpenAI endpoints over a simulated scheduler and KV cache.
//!
//! * [`engine`]: the pure core, `step(now, input) → effects` in virtual time: passes with a token budget, chunked
//!   prefill, continuous batching, prefix caching, LRU eviction, preemption, LoRA slots. Benchmarks drive it directly.
//! * [`tokens`]: the tokenizer stand-in that turns prompts into the engine's block chains.
//! * [`ModelServer`]: one pod, an HTTP server around one engine; [`Fleet`]: several pods in this process.
//!
//! What it leaves out: weights (answers are filler words), sampling (same prompt, same answer), reuse of produced
//! tokens by later prompts, several ranks.

pub mod app;
mod config;
mod connection;
pub mod engine;
mod faults;
mod filler;
mod flags;
mod fleet;
mod histogram;
mod http;
mod life;
mod metrics;
mod pod;
mod seeded;
mod server;
pub mod tokens;

pub use config::{ConfigError, ModelConfig, PodConfig, adapter_names};
pub use faults::{EngineFault, Faults, FaultsError, MetricsFault};
pub use flags::{Flags, OutputFormat};
pub use fleet::{Fleet, FleetConfig, FleetError};
pub use server::{ModelServer, StartError};
