//! Why a request is answered by the picker instead of an endpoint.

use std::fmt;

/// Why a request is refused. Displays as the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request makes no sense; the text says why.
    BadRequest(String),
    /// There is no endpoint that could take it.
    NoEndpoint,
    /// There are endpoints, but the filters of the policy left none.
    Saturated,
    /// Its body is too long.
    TooLarge {
        /// The longest body that is accepted, in bytes.
        limit_bytes: usize,
    },
    /// The picker holds as many request bodies as it may.
    Full,
}

impl Refusal {
    /// The HTTP status that the client gets.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::TooLarge { .. } => 413,
            Self::Saturated => 429,
            Self::NoEndpoint | Self::Full => 503,
        }
    }

    /// The name of the error, which begins the body that the client gets.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::TooLarge { .. } => "PayloadTooLarge",
            Self::NoEndpoint | Self::Full => "ServiceUnavailable",
            Self::Saturated => "ResourceExhausted",
        }
    }

    /// What the header `x-llm-d-request-dropped-reason` says, where it is sent.
    pub const fn dropped_reason(&self) -> Option<&'static str> {
        match self {
            Self::NoEndpoint => Some("rejected-no-endpoints"),
            Self::Saturated | Self::Full => Some("rejected-saturated"),
            Self::BadRequest(_) | Self::TooLarge { .. } => None,
        }
    }

    /// Whether the same request may be served a little later.
    pub(crate) const fn may_come_again(&self) -> bool {
        matches!(self, Self::Saturated | Self::Full)
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
            Self::Full => f.write_str("too many request bodies are on their way through the endpoint picker"),
        }
    }
}

impl std::error::Error for Refusal {}
