//! The reasons why the picker refuses a request.

use std::fmt;

use signalbox_flow::DropReason;

/// Why a request is refused. `Display` writes the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is invalid; the text explains why.
    BadRequest(String),
    /// No endpoint can serve the request.
    NoEndpoint,
    /// There are endpoints, but the filters of the policy excluded all of them.
    Saturated,
    /// The body is too long.
    TooLarge {
        /// Maximum length of a body in bytes.
        limit_bytes: usize,
    },
    /// The picker already buffers as many request bodies as it may.
    BodyBudgetExceeded,
    /// The request could not wait for an endpoint, or not for long enough, or was revoked at its endpoint.
    Dropped {
        /// Why.
        reason: DropReason,
        /// Seconds after which a place can be expected.
        retry_after_s: u32,
    },
    /// The pool is full and the priority of the request is negative, without flow control.
    Shed,
}

impl Refusal {
    /// Returns the HTTP status for the client.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::TooLarge { .. } => 413,
            Self::Saturated | Self::Shed => 429,
            Self::Dropped { reason, .. } => reason.status(),
            Self::NoEndpoint | Self::BodyBudgetExceeded => 503,
        }
    }

    /// Returns the error code at the start of the body for the client.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::TooLarge { .. } => "PayloadTooLarge",
            Self::NoEndpoint | Self::BodyBudgetExceeded => "ServiceUnavailable",
            Self::Saturated | Self::Shed => "ResourceExhausted",
            Self::Dropped { reason, .. } if reason.status() == 429 => "ResourceExhausted",
            Self::Dropped { .. } => "ServiceUnavailable",
        }
    }

    /// Returns the value of the header `x-llm-d-request-dropped-reason`, if it is sent.
    pub fn dropped_reason(&self) -> Option<&'static str> {
        match self {
            Self::NoEndpoint => Some("rejected-no-endpoints"),
            Self::Saturated | Self::BodyBudgetExceeded => Some("rejected-saturated"),
            Self::Dropped { reason, .. } => Some(reason.name()),
            // The Go EPP names no reason for what it sheds without flow control.
            Self::BadRequest(_) | Self::TooLarge { .. } | Self::Shed => None,
        }
    }

    /// Returns after how many seconds the client should retry, if the same request may succeed then. `default_s` is for
    /// refusals that do not tell.
    pub(crate) fn retry_after_s(&self, default_s: u32) -> Option<u32> {
        match self {
            Self::Saturated | Self::BodyBudgetExceeded | Self::Shed => Some(default_s),
            Self::Dropped { retry_after_s, .. } => Some(*retry_after_s),
            Self::BadRequest(_) | Self::NoEndpoint | Self::TooLarge { .. } => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(message) => f.write_str(message),
            Self::NoEndpoint => f.write_str("failed to find endpoint candidates for serving the request"),
            Self::Saturated => f.write_str("no endpoints available for the given request"),
            Self::TooLarge { limit_bytes } => {
                write!(f, "request body is longer than {limit_bytes} bytes")
            }
            Self::BodyBudgetExceeded => {
                f.write_str("the endpoint picker is buffering too many request bodies; retry later")
            }
            Self::Dropped { reason, retry_after_s } => {
                let why = match reason {
                    DropReason::Saturated => "the pool is full, and so is the queue for this request",
                    DropReason::NoEndpoints => "the pool has no endpoint",
                    DropReason::Expired => "the request has waited for an endpoint for as long as it may",
                    DropReason::Cancelled => "the request was cancelled while it waited",
                    DropReason::ShuttingDown => "the endpoint picker shuts down",
                    DropReason::Revoked => "request evicted by flow control",
                };
                write!(f, "{why}; retry after {retry_after_s} s")
            }
            Self::Shed => f.write_str("system saturated, sheddable request dropped"),
        }
    }
}

impl std::error::Error for Refusal {}
