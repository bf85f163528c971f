//! Workloads to replay: parsed traces, and generators with a configurable amount of shared prompt prefixes.
//!
//! A prompt consists of numbered segments. A client can render its text ([`Prompt::text`]) and a simulation
//! can compute its block chain ([`Prompt::chain`]) independently of each other.

pub mod arrivals;
pub mod generate;
mod prompt;
pub mod trace;

pub use prompt::{BYTES_PER_TOKEN, Prompt, Segment};

/// One request of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Send time in microseconds since the start of the workload.
    pub at_us: u64,
    /// Prompt of the request.
    pub prompt: Prompt,
    /// Number of output tokens, at least 1.
    pub output_tokens: u32,
}
