//! How fast an endpoint is.

use serde::{Deserialize, Serialize};

/// How fast an endpoint is. The default is that of an 8B model on one H100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Prompt tokens that it processes in a second.
    pub prefill_tokens_per_second: u32,
    /// Time between two tokens of an answer when it has nothing else to do, in microseconds.
    pub decode_token_us: u32,
    /// By how much each running request lengthens each other one's next token, in microseconds.
    pub decode_interference_us: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { prefill_tokens_per_second: 8_000, decode_token_us: 6_000, decode_interference_us: 350 }
    }
}
