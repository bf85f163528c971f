//! The properties of a request that a decision reads.

use serde::{Deserialize, Serialize};

use crate::subset::Subset;

/// The properties of a request that a decision reads, except for the prefix matches of its prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Requested model or adapter; empty if the request does not name one.
    pub model: String,
    /// Prompt length in tokens: exact if the request contains tokens, else estimated at 4 bytes per token.
    pub prompt_tokens: u64,
    /// Limit on output tokens, if the client sets one.
    pub max_output_tokens: Option<u64>,
    /// Priority from the objective. 0 is the default; requests with a negative priority can be shed.
    #[serde(default, skip_serializing_if = "is_default_priority")]
    pub priority: i32,
    /// Goal for the time to the first token in milliseconds, if the client sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_goal_ms: Option<u32>,
    /// Goal for the time per output token in milliseconds, if the client sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_goal_ms: Option<u32>,
    /// Endpoints that the gateway allows; `None` if it allows all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// Headers that the policy reads, in the order in which the policy lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

fn is_default_priority(priority: &i32) -> bool {
    *priority == 0
}

impl Request {
    /// Returns the value of the header `name`, if the policy reads it and the request has it. Names are
    /// case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
