//! Workloads to replay: parsed traces, and generators with a configurable amount of shared prompt prefixes.
//!
//! A prompt consists of messages, and these of numbered segments of text. A client renders them
//! ([`Prompt::text`], [`append_text`]); an answer that a prompt repeats is text of the model server.

pub mod arrivals;
pub mod generate;
mod prompt;
pub mod trace;

pub use prompt::{Author, BYTES_PER_TOKEN, Prompt, Segment, append_text};

/// One request of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Send time in microseconds since the start of the workload.
    pub at_us: u64,
    /// Prompt of the request.
    pub prompt: Prompt,
    /// Number of output tokens, at least 1.
    pub output_tokens: u32,
    /// Number of the answer. Later prompts repeat it in a segment of [`Author::Assistant`] with this content.
    pub answer: u64,
}
