//! The reasons why the picker refuses a request.

use std::fmt;

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
}

impl Refusal {
    /// Returns the HTTP status for the client.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::TooLarge { .. } => 413,
            Self::Saturated => 429,
            Self::NoEndpoint | Self::BodyBudgetExceeded => 503,
        }
    }

    /// Returns the error code at the start of the body for the client.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::TooLarge { .. } => "PayloadTooLarge",
            Self::NoEndpoint | Self::BodyBudgetExceeded => "ServiceUnavailable",
            Self::Saturated => "ResourceExhausted",
        }
    }

    /// Returns the value of the header `x-llm-d-request-dropped-reason`, if it is sent.
    pub const fn dropped_reason(&self) -> Option<&'static str> {
        match self {
            Self::NoEndpoint => Some("rejected-no-endpoints"),
            Self::Saturated | Self::BodyBudgetExceeded => Some("rejected-saturated"),
            Self::BadRequest(_) | Self::TooLarge { .. } => None,
        }
    }

    /// Returns whether the same request may succeed a little later.
    pub(crate) const fn is_retryable(&self) -> bool {
        matches!(self, Self::Saturated | Self::BodyBudgetExceeded)
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
        }
    }
}

impl std::error::Error for Refusal {}
