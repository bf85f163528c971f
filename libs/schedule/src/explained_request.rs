//! What would happen to a request that arrives now.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::explain::Explanation;

/// Whether a request that arrives now would go, wait or be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ExpectedAdmission {
    /// It would go at once.
    Goes,
    /// It would wait for a place.
    Waits {
        /// The highest priority of which requests wait already, at any replica. Without one, the pool is full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behind_priority: Option<i32>,
        /// How many requests wait already at the replica.
        behind_requests: u64,
        /// How many requests of its priority and of higher ones wait already, at all replicas as far as this one knows.
        ahead_requests: u64,
    },
    /// It would be refused.
    Refused {
        /// HTTP status of the refusal.
        status: u16,
        /// Value of the header `x-llm-d-request-dropped-reason`, if it is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The message for the client.
        message: String,
    },
}

impl fmt::Display for ExpectedAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goes => f.write_str("would go at once"),
            Self::Waits { behind_priority: None, .. } => {
                f.write_str("would wait for a place: the pool is full, and no request waits yet")
            }
            Self::Waits { behind_priority: Some(_), behind_requests, ahead_requests } => {
                let noun = |count: u64| if count == 1 { "request" } else { "requests" };
                write!(
                    f,
                    "would wait for a place: behind {ahead_requests} {} of its priority or higher in the pool; \
                     {behind_requests} {} at this replica",
                    noun(*ahead_requests),
                    if *behind_requests == 1 { "request waits" } else { "requests wait" },
                )
            }
            Self::Refused { status, reason, message } => {
                write!(f, "would be refused with {status}")?;
                if let Some(reason) = reason {
                    write!(f, " ({reason})")?;
                }
                write!(f, ": {message}")
            }
        }
    }
}

/// A request that was not sent, with the decision on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRequest {
    /// Whether it would go, wait or be refused.
    pub admission: ExpectedAdmission,
    /// Explanation of the decision; `None` if the request is invalid, so that there is none.
    #[serde(flatten)]
    pub explanation: Option<Explanation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_behind_whom_a_request_would_wait_and_why_it_would_be_refused() {
        let waits = |behind_priority, ahead_requests, behind_requests| {
            ExpectedAdmission::Waits { behind_priority, behind_requests, ahead_requests }.to_string()
        };
        assert!(waits(None, 0, 0).contains("the pool is full"));
        assert_eq!(
            "would wait for a place: behind 5 requests of its priority or higher in the pool; 3 requests wait at this replica",
            waits(Some(-3), 5, 3)
        );
        assert_eq!(
            "would wait for a place: behind 1 request of its priority or higher in the pool; 1 request waits at this replica",
            waits(Some(-3), 1, 1)
        );
        let refused = |reason: Option<&str>| ExpectedAdmission::Refused {
            status: 429,
            reason: reason.map(str::to_owned),
            message: "full".to_owned(),
        };
        assert_eq!("would be refused with 429 (rejected): full", refused(Some("rejected")).to_string());
        assert_eq!("would be refused with 429: full", refused(None).to_string());
    }
}
