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
            Self::Waits { behind_priority: Some(priority), behind_requests, ahead_requests } => write!(
                f,
                "would wait for a place: behind requests of priority {priority}, {behind_requests} of all that wait at this \
                 replica; {ahead_requests} of its priority or a higher one wait at all replicas"
            ),
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
        let waits = |behind_priority| ExpectedAdmission::Waits {
            behind_priority,
            behind_requests: 8,
            ahead_requests: 20,
        };
        assert!(waits(None).to_string().contains("the pool is full"));
        let behind = waits(Some(-3)).to_string();
        assert!(
            behind.contains("behind requests of priority -3, 8 of all") && behind.contains("; 20 of its"),
            "{behind}"
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
