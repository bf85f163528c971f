//! What the gateway itself tells a client when a request cannot be carried out.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::Authority;
use http::{HeaderValue, Response, StatusCode};

/// Why a request cannot be carried out; its text is the body of the response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// No picker could be asked.
    #[error("signalbox gateway: no endpoint picker is available; the last one tried, {tried}")]
    NoPicker { tried: String },
    /// The picker went away with the body, or a part of it.
    #[error("signalbox gateway: the endpoint picker was lost while it had the request's body: {reason}")]
    PickerLost { reason: String },
    /// The picker answered, but not with a destination.
    #[error("signalbox gateway: the endpoint picker named no destination of the form host:port")]
    NoDestination,
    /// The picker set a path or header that cannot be sent.
    #[error("signalbox gateway: the endpoint picker made a request that cannot be sent: {0}")]
    Unsendable(#[from] http::Error),
    /// The upstream could not be connected to.
    #[error("signalbox gateway: cannot connect to the endpoint {endpoint}: {reason}")]
    Unreachable { endpoint: Authority, reason: String },
    /// The upstream broke before it answered.
    #[error("signalbox gateway: the endpoint {endpoint} broke off before it answered: {reason}")]
    UpstreamBroke { endpoint: Authority, reason: String },
    /// The client's body broke.
    #[error("signalbox gateway: the request's body could not be read: {0}")]
    ClientBody(hyper::Error),
    /// Tunnels are not offered.
    #[error("signalbox gateway: CONNECT is not supported")]
    Tunnel,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPicker { .. } | Self::PickerLost { .. } | Self::Unreachable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoDestination | Self::Unsendable(_) | Self::UpstreamBroke { .. } => StatusCode::BAD_GATEWAY,
            Self::ClientBody(_) => StatusCode::BAD_REQUEST,
            Self::Tunnel => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The response to the client.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(format!("{self}\n")));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
