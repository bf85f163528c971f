//! Requests to replay: traces, and generators whose prompts have as much in common as a profile says.
//!
//! Prompts are made of segments that are known by a number, so that a client can have their text ([`Prompt::text`]) and a
//! simulation their block chains ([`Prompt::chain`]) without one another.

pub mod arrivals;
pub mod generate;
mod prompt;
pub mod trace;

pub use prompt::{BYTES_PER_TOKEN, Prompt, Segment};

/// One request of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// When it is sent, in microseconds since the workload began.
    pub at_us: u64,
    /// What it asks.
    pub prompt: Prompt,
    /// Tokens of its answer, at least one.
    pub output_tokens: u32,
}
