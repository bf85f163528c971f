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
    /// The gateway sends request bodies in a way in which no destination can be chosen by them.
    UnsupportedMode {
        /// The mode, as the gateway's configuration calls it.
        mode: &'static str,
    },
}

impl Refusal {
    /// The HTTP status that the client gets.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::TooLarge { .. } => 413,
            Self::Saturated => 429,
            Self::UnsupportedMode { .. } => 500,
            Self::NoEndpoint => 503,
        }
    }

    /// The name of the error, which begins the body that the client gets.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::TooLarge { .. } => "PayloadTooLarge",
            Self::UnsupportedMode { .. } => "Internal",
            Self::NoEndpoint => "ServiceUnavailable",
            Self::Saturated => "ResourceExhausted",
        }
    }

    /// What the header `x-llm-d-request-dropped-reason` says, where it is sent.
    pub const fn dropped_reason(&self) -> Option<&'static str> {
        match self {
            Self::NoEndpoint => Some("rejected-no-endpoints"),
            Self::Saturated => Some("rejected-saturated"),
            Self::BadRequest(_) | Self::TooLarge { .. } | Self::UnsupportedMode { .. } => None,
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
            Self::UnsupportedMode { mode } => write!(
                f,
                "request_body_mode {mode} is not supported, \
                 set request_body_mode: FULL_DUPLEX_STREAMED in the gateway's ext_proc filter"
            ),
        }
    }
}

impl std::error::Error for Refusal {}
