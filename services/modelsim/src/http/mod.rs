//! The HTTP face of a pod.

mod admin;
mod error;
mod inference;
mod reply;
mod request;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::PodConfig;
use crate::life::Lives;
use error::ApiError;

/// The largest request body: 64 MiB.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Which pod answered.
static POD: HeaderName = HeaderName::from_static("x-signalbox-pod");
/// XXH3 (64 bits, hexadecimal) of the request body as it arrived.
static BODY_XXH3: HeaderName = HeaderName::from_static("x-signalbox-body-xxh3");
/// Length of the request body as it arrived.
static BODY_BYTES: HeaderName = HeaderName::from_static("x-signalbox-body-bytes");

/// Names of the request's headers as they arrived.
static HEADERS: HeaderName = HeaderName::from_static("x-signalbox-request-headers");

/// What every request needs to know.
pub(crate) struct Service {
    /// The pod's name as a header.
    pub(crate) name: HeaderValue,
    pub(crate) config: PodConfig,
    pub(crate) lives: Lives,
    /// Cancelled when the server stops accepting: ends answers that would never end by themselves.
    pub(crate) closing: CancellationToken,
}

impl Service {
    /// Begins a new life.
    pub(crate) fn restart(&self) {
        self.lives.restart(&self.config).expect("the pod has started from this configuration before");
    }
}

/// All routes of a pod.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/completions", post(inference::completions))
        .route("/v1/chat/completions", post(inference::chat_completions))
        .route("/v1/models", get(admin::models))
        .route("/health", get(async || ()))
        .route("/metrics", get(admin::metrics))
        .route("/admin/faults", get(admin::show_faults).post(admin::set_faults).delete(admin::clear_faults))
        .route("/admin/restart", post(admin::restart))
        .fallback(async |uri: Uri| ApiError::not_found(format!("there is nothing at {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| ApiError::wrong_method(&method, &uri))
        .layer(from_fn_with_state(Arc::clone(&service), stamp))
        // The layer above has its own limit and reads the whole body first.
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

/// Reads the whole body and marks every response with what arrived and who answered.
async fn stamp(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => {
            let hash = HeaderValue::try_from(format!("{:016x}", xxh3_64(&body)));
            let bytes = HeaderValue::from(body.len());
            let names: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
            let names = HeaderValue::try_from(names.join(","));
            let mut response = next.run(Request::from_parts(parts, Body::from(body))).await;
            response
                .headers_mut()
                .insert(BODY_XXH3.clone(), hash.expect("hexadecimal digits are a header value"));
            response.headers_mut().insert(BODY_BYTES.clone(), bytes);
            response.headers_mut().insert(HEADERS.clone(), names.expect("header names are a header value"));
            response
        }
        Err(error) => unreadable(&error).into_response(),
    };
    response.headers_mut().insert(POD.clone(), service.name.clone());
    response
}

fn unreadable(error: &axum::Error) -> ApiError {
    let too_long = std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>());
    if too_long {
        ApiError::too_long(format!("the request body is longer than {MAX_BODY_BYTES} bytes"))
    } else {
        ApiError::bad_request(format!("the request body could not be read: {error}"))
    }
}
