//! What a decision goes by.

use signalbox_types::PPM;

/// What a decision goes by: how fast an endpoint is taken to be, and when it counts as full.
///
/// The defaults are those of an 8B model on one H100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Prompt tokens that an endpoint processes in a second.
    pub prefill_tokens_per_second: u64,
    /// Time between two tokens of an answer at an endpoint that has nothing else to do, in microseconds.
    pub decode_token_us: u64,
    /// By how much each running request lengthens each other one's next token, in microseconds.
    pub decode_interference_us: u64,
    /// How long a request is taken to run when it is not known, in milliseconds.
    pub service_ms: u64,
    /// Tokens that a request is taken to generate when it sets no limit, and at most when it does.
    pub output_tokens: u64,
    /// Prompt tokens that a waiting request is taken to have when no replica has booked it.
    pub foreign_prompt_tokens: u64,
    /// An endpoint with this much of its KV cache in use, in parts per million, and requests waiting is full.
    pub full_kv_ppm: u32,
    /// Endpoints within this time of the best one, in microseconds, are as good as it.
    pub near_tie_us: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            prefill_tokens_per_second: 8_000,
            decode_token_us: 6_000,
            decode_interference_us: 350,
            service_ms: 5_000,
            output_tokens: 256,
            foreign_prompt_tokens: 1_000,
            full_kv_ppm: PPM / 100 * 98,
            near_tie_us: 1_000,
        }
    }
}
