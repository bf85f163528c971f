//! Errors that a response reports in its body, although its HTTP status says success.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::response::json_value::{is_nonempty, parse_object};

/// An error that an event or a document reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseError {
    /// The HTTP status that the response would have had, if the error tells it.
    pub status: Option<u16>,
}

/// Names of errors, and the HTTP statuses that the servers use for them outside of streams.
///
/// Sources: Anthropic's API reference (`errors`), OpenAI's (`ResponseErrorCode`, `error codes`), vLLM's
/// `create_error_response` (names of exceptions), TGI's `InferError`.
const STATUSES: [(&str, u16); 17] = [
    ("invalid_request_error", 400),
    ("invalid_prompt", 400),
    ("BadRequestError", 400),
    ("authentication_error", 401),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("NotFoundError", 404),
    ("request_too_large", 413),
    ("validation", 422),
    ("generation", 424),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("overloaded", 429),
    ("api_error", 500),
    ("server_error", 500),
    ("InternalServerError", 500),
    ("overloaded_error", 529),
];

/// What the members of an event or a document say about an error. The members may come in any order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ErrorMembers {
    is_error: bool,
    /// Status that the error itself tells.
    own_status: Option<u16>,
    /// Status that a member beside the error tells.
    outer_status: Option<u16>,
}

#[derive(Deserialize)]
struct ErrorFields<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

impl ErrorMembers {
    /// Adds the value of `error`: an object, or text. `null` is no error.
    pub(crate) fn on_error(&mut self, value: &[u8]) {
        let Ok(text) = str::from_utf8(value) else { return };
        let text = text.trim();
        self.is_error |= is_nonempty(text) && text != "false";
        if let Some(fields) = parse_object::<ErrorFields<'_>>(text.as_bytes()) {
            let told = [fields.code, fields.status_code, fields.kind];
            self.own_status = told.into_iter().flatten().find_map(|value| parse_status(value.get()));
        }
    }

    /// Adds an error that is too long to be read.
    pub(crate) fn on_long_error(&mut self) {
        self.is_error = true;
    }

    /// Adds the value of a member that names the kind of the event or document: `type` or `object`.
    pub(crate) fn on_kind(&mut self, kind: &str) {
        self.is_error |= matches!(kind, "error" | "response.failed");
    }

    /// Adds a member beside the error that may tell its status: `code` or `error_type`.
    pub(crate) fn on_outer_status(&mut self, value: &[u8]) {
        let status = str::from_utf8(value).ok().and_then(|text| parse_status(text.trim()));
        self.outer_status = self.outer_status.or(status);
    }

    /// Returns the error, if the members report one.
    pub(crate) fn error(&self) -> Option<ResponseError> {
        let error = ResponseError { status: self.own_status.or(self.outer_status) };
        self.is_error.then_some(error)
    }

    /// Combines with the members of another object that may report the same error.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            is_error: self.is_error || other.is_error,
            own_status: self.own_status.or(other.own_status),
            outer_status: self.outer_status.or(other.outer_status),
        }
    }
}

/// Parses a status: an HTTP status code, which may be quoted, or a known name.
fn parse_status(json: &str) -> Option<u16> {
    let text = json.trim_matches('"');
    let code = text.parse().ok().filter(|code| (400..600).contains(code));
    code.or_else(|| STATUSES.iter().find(|(name, _)| *name == text).map(|(_, status)| *status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_a_code_or_a_known_name() {
        for (json, status) in [
            ("400", Some(400)),
            ("\"503\"", Some(503)),
            ("\"overloaded_error\"", Some(529)),
            ("\"BadRequestError\"", Some(400)),
            ("200", None),
            ("-1", None),
            ("null", None),
            ("\"ERR_SOMETHING\"", None),
        ] {
            assert_eq!(parse_status(json), status, "{json}");
        }
    }

    #[test]
    fn only_a_value_is_an_error() {
        for (value, is_error) in [
            ("null", false),
            ("\"\"", false),
            ("{}", false),
            ("false", false),
            ("\"x\"", true),
            ("{\"a\":1}", true),
        ] {
            let mut members = ErrorMembers::default();
            members.on_error(value.as_bytes());
            assert_eq!(members.error().is_some(), is_error, "{value}");
        }
    }
}
