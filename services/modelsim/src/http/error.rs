//! Error responses in the format of OpenAI's API and vLLM.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::pod::{FaultsError, SubmitError};

/// An error response `{"error": {"message", "type", "param", "code"}}`.
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// Name of the invalid field.
    param: Option<&'static str>,
}

#[derive(Serialize)]
struct Envelope {
    error: Detail,
}

#[derive(Serialize)]
struct Detail {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: u16,
}

impl ApiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestError",
            message: message.into(),
            param: None,
        }
    }

    /// A field is missing or invalid.
    pub(super) fn invalid_field(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::bad_request(message) }
    }

    pub(super) fn not_found(message: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, kind: "NotFoundError", message, param: None }
    }

    pub(super) fn unknown_model(model: &str) -> Self {
        Self { param: Some("model"), ..Self::not_found(format!("The model `{model}` does not exist.")) }
    }

    pub(super) fn unknown_response(id: &str) -> Self {
        Self { param: Some("response_id"), ..Self::not_found(format!("Response with id '{id}' not found.")) }
    }

    pub(super) fn method_not_allowed(method: &Method, uri: &Uri) -> Self {
        let message = format!("{method} is not allowed at {}", uri.path());
        Self { status: StatusCode::METHOD_NOT_ALLOWED, kind: "BadRequestError", message, param: None }
    }

    pub(super) fn body_too_large(message: String) -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, kind: "BadRequestError", message, param: None }
    }

    /// An error that was injected through `/admin/faults`.
    pub(super) fn injected() -> Self {
        let message = "error injected by /admin/faults".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "InternalServerError", message, param: None }
    }

    pub(super) fn stopping() -> Self {
        let message = "the pod is stopping".to_owned();
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "ServiceUnavailableError",
            message,
            param: None,
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rejected(reason) => Self::bad_request(reason.to_string()),
            SubmitError::Stopped => Self::stopping(),
        }
    }
}

impl From<FaultsError> for ApiError {
    fn from(error: FaultsError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, kind, message, param } = self;
        let error = Detail { message, kind, param, code: status.as_u16() };
        (status, Json(Envelope { error })).into_response()
    }
}
