//! What a decision knows of a request.

use serde::{Deserialize, Serialize};

/// What a decision knows of a request, besides which endpoints hold a part of its prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The model or adapter asked for; empty where the request names none.
    pub model: String,
    /// Length of the prompt in tokens, estimated at 4 bytes each.
    pub prompt_tokens: u64,
    /// The most tokens that the client wants back, where it says.
    pub max_output_tokens: Option<u64>,
}
