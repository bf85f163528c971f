//! An endpoint's measured speed.

use serde::{Deserialize, Serialize};

/// An endpoint's measured speed. The default is the speed of modelsim's profile `linear`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Prompt tokens that the endpoint processes per second.
    pub prefill_tokens_per_second: u32,
    /// Time per output token of a request that runs alone, in microseconds.
    pub decode_token_us: u32,
    /// Time that each running request adds to every output token of the others, in microseconds.
    pub decode_interference_us: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { prefill_tokens_per_second: 8_000, decode_token_us: 6_000, decode_interference_us: 350 }
    }
}
