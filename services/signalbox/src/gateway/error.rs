//! Errors of the gateway itself, and the responses that clients get for them.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::Authority;
use http::{HeaderValue, Response, StatusCode};

/// Why the gateway cannot serve a request. The text is the body of the response.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    /// No picker is reachable.
    #[error("signalbox gateway: no endpoint picker is available; last attempt: {last_attempt}")]
    NoPicker { last_attempt: String },
    /// The picker failed after it had received a part of the body.
    #[error("signalbox gateway: the endpoint picker failed while it had the request body: {reason}")]
    PickerLost { reason: String },
    /// The picker answered without a valid destination.
    #[error("signalbox gateway: the endpoint picker named no destination of the form HOST:PORT")]
    NoDestination,
    /// The picker set a path or a header that is invalid in HTTP.
    #[error("signalbox gateway: the endpoint picker set an invalid path or header: {0}")]
    InvalidRequest(#[from] http::Error),
    /// The connection to the endpoint failed.
    #[error("signalbox gateway: cannot connect to the endpoint {endpoint}: {reason}")]
    Unreachable { endpoint: Authority, reason: String },
    /// The endpoint closed the connection before it answered.
    #[error("signalbox gateway: the endpoint {endpoint} closed the connection before it answered: {reason}")]
    UpstreamLost { endpoint: Authority, reason: String },
    /// The body from the client cannot be read.
    #[error("signalbox gateway: cannot read the request body: {0}")]
    ClientBody(hyper::Error),
    /// CONNECT requests are not supported.
    #[error("signalbox gateway: CONNECT is not supported")]
    ConnectMethod,
}

impl GatewayError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPicker { .. } | Self::PickerLost { .. } | Self::Unreachable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoDestination | Self::InvalidRequest(_) | Self::UpstreamLost { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::ClientBody(_) => StatusCode::BAD_REQUEST,
            Self::ConnectMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Returns the response to the client.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(format!("{self}\n")));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
