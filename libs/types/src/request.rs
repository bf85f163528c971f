//! What a decision knows of a request.

use serde::{Deserialize, Serialize};

use crate::subset::Subset;

/// What a decision knows of a request, besides which endpoints hold a part of its prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The model or adapter asked for; empty where the request names none.
    pub model: String,
    /// Length of the prompt in tokens: counted where they are told, else estimated at 4 bytes each.
    pub prompt_tokens: u64,
    /// The most tokens that the client wants back, where it says.
    pub max_output_tokens: Option<u64>,
    /// How much it matters beside others, by its objective; 0 is usual, and one below that may be dropped.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: i32,
    /// The time to the first token that the client wants, in milliseconds, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_goal_ms: Option<u32>,
    /// The time between tokens that the client wants, in milliseconds, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_goal_ms: Option<u32>,
    /// The endpoints that the gateway allows; `None` where it allows all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// Those of its headers that the policy asks for, in the order in which it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

fn is_usual(priority: &i32) -> bool {
    *priority == 0
}

impl Request {
    /// The value of the header called `name`, if the policy asked for it and the request has it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
