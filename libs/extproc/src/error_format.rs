//! The forms in which clients expect errors: that of the API which they speak.

use bytes::Bytes;
use serde_json::json;

/// The form of an error in the body of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// `{"error": {"message", "type", "param", "code"}}`, which most model servers use, too.
    #[default]
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// The message as text: a gateway puts it into the gRPC status.
    Grpc,
}

/// An error for the client.
pub(crate) struct ClientError<'a> {
    /// HTTP status.
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) message: String,
}

impl ErrorFormat {
    /// Returns the form for a request to `path` with this content type. `names_anthropic` tells whether the client
    /// names a version of Anthropic's API. Paths of no known API get OpenAI's form.
    pub(crate) fn of(path: &str, content_type: Option<&str>, names_anthropic: bool) -> Self {
        if content_type.is_some_and(|value| value.starts_with("application/grpc")) {
            Self::Grpc
        } else if names_anthropic || is_anthropic(path) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Anthropic => "application/json",
            Self::Grpc => "text/plain",
        }
    }

    /// Returns the body of a response with this error.
    pub(crate) fn body(self, ClientError { status, code, message }: ClientError<'_>) -> Bytes {
        let body = match self {
            Self::OpenAi => {
                let kind = openai_type(status);
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
            }
            Self::Anthropic => {
                let error = json!({"type": anthropic_type(status), "message": message});
                json!({"type": "error", "error": error}).to_string()
            }
            Self::Grpc => format!("inference error: {code} - {message}"),
        };
        body.into()
    }
}

/// Returns whether `path` is one of Anthropic's messages API: the messages themselves, their batches, and the count
/// of their tokens.
fn is_anthropic(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').any(|segment| segment == "messages")
}

/// Returns OpenAI's type of errors with an HTTP status (API reference, "Error codes").
fn openai_type(status: u16) -> &'static str {
    match status {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Returns Anthropic's type of errors with an HTTP status (API reference, "Errors"). It has none for 503, which says
/// the same as Anthropic's own 529: the service has no room at the moment.
fn anthropic_type(status: u16) -> &'static str {
    match status {
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_headers_tell_the_form() {
        let of_path = |path| ErrorFormat::of(path, Some("application/json"), false);
        for path in [
            "/v1/messages",
            "/a/v1/messages?beta=true",
            "/v1/messages/count_tokens",
            "/v1/messages/batches/1",
        ] {
            assert_eq!(ErrorFormat::Anthropic, of_path(path), "{path}");
        }
        for path in ["/v1/chat/completions", "/v1/my-messages", "/v1/models?a=/messages", "/", ""] {
            assert_eq!(ErrorFormat::OpenAi, of_path(path), "{path}");
        }
        assert_eq!(ErrorFormat::Anthropic, ErrorFormat::of("/v1/models", None, true));
        let grpc = Some("application/grpc+proto");
        assert_eq!(ErrorFormat::Grpc, ErrorFormat::of("/vllm.grpc.engine.VllmEngine/Generate", grpc, true));
    }

    #[test]
    fn any_message_is_written_as_valid_json() {
        let message = "a \"quoted\"\nline \u{1}\\";
        for (format, message_at, type_at) in [
            (ErrorFormat::OpenAi, "/error/message", ("/error/type", "rate_limit_error")),
            (ErrorFormat::Anthropic, "/error/message", ("/type", "error")),
        ] {
            let error = ClientError { status: 429, code: "ResourceExhausted", message: message.to_owned() };
            let body: serde_json::Value = serde_json::from_slice(&format.body(error)).unwrap();
            assert_eq!(Some(message), body.pointer(message_at).and_then(|text| text.as_str()));
            assert_eq!(Some(type_at.1), body.pointer(type_at.0).and_then(|text| text.as_str()));
        }
    }

    #[test]
    fn types_are_those_of_the_apis() {
        let types = |status| (openai_type(status), anthropic_type(status));
        assert_eq!(("invalid_request_error", "invalid_request_error"), types(400));
        assert_eq!(("invalid_request_error", "request_too_large"), types(413));
        assert_eq!(("rate_limit_error", "rate_limit_error"), types(429));
        assert_eq!(("server_error", "overloaded_error"), types(503));
        assert_eq!(("server_error", "api_error"), types(500));
    }
}
