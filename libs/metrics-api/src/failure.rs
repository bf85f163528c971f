//! Failures, as the API server's clients expect them: a `Status`.

use serde_json::{Value, json};

/// Why a request gets no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be understood.
    BadRequest(String),
    /// The client is not who it says it is.
    Unauthorized(String),
    /// The client may not do this.
    Forbidden(String),
    /// There is no such thing.
    NotFound(String),
    /// Only `GET` is served.
    MethodNotAllowed,
    /// There is no reliable value at the moment.
    Unavailable(String),
}

impl Failure {
    /// Returns the HTTP status code.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::MethodNotAllowed => 405,
            Self::Unavailable(_) => 503,
        }
    }

    /// Returns the body of the response.
    pub fn body(&self) -> Value {
        let (reason, message) = match self {
            Self::BadRequest(message) => ("BadRequest", message.as_str()),
            Self::Unauthorized(message) => ("Unauthorized", message.as_str()),
            Self::Forbidden(message) => ("Forbidden", message.as_str()),
            Self::NotFound(message) => ("NotFound", message.as_str()),
            Self::MethodNotAllowed => ("MethodNotAllowed", "metrics can only be read: send GET"),
            Self::Unavailable(message) => ("ServiceUnavailable", message.as_str()),
        };
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": self.code(),
        })
    }
}
