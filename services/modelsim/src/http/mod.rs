//! The HTTP API of a pod.

mod admin;
mod connection;
mod error;
mod event_stream;
mod generation;
mod inference;
mod request;
mod response;
mod responses;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use xxhash_rust::xxh3::xxh3_64;

use crate::pod::Pod;
pub(crate) use connection::{PodListener, SurvivesRestart};
use error::ApiError;

/// Maximum size of a request body: 64 MiB.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Name of the pod that sent the response.
static POD_NAME: HeaderName = HeaderName::from_static("x-signalbox-pod");
/// XXH3 hash (64 bits, hexadecimal) of the request body as received.
static BODY_XXH3: HeaderName = HeaderName::from_static("x-signalbox-body-xxh3");
/// Length of the request body as received.
static BODY_BYTES: HeaderName = HeaderName::from_static("x-signalbox-body-bytes");
/// Names of the request's headers as received.
static HEADER_NAMES: HeaderName = HeaderName::from_static("x-signalbox-request-headers");

/// Returns the router with all routes of a pod.
pub(crate) fn router(pod: Arc<Pod>) -> Router {
    Router::new()
        .route("/v1/completions", post(inference::completions))
        .route("/v1/chat/completions", post(inference::chat_completions))
        .route("/v1/responses", post(responses::create))
        .route("/v1/responses/{id}", get(responses::show).delete(responses::delete))
        .route("/v1/models", get(admin::models))
        .route("/health", get(admin::health))
        .route("/metrics", get(admin::metrics))
        .route("/admin/faults", get(admin::show_faults).post(admin::set_faults).delete(admin::clear_faults))
        .route("/admin/restart", post(admin::restart))
        .fallback(async |uri: Uri| ApiError::not_found(format!("no such path: {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            ApiError::method_not_allowed(&method, &uri)
        })
        .layer(from_fn_with_state(Arc::clone(&pod), add_pod_headers))
        // The layer above reads the whole body first and has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(pod)
}

/// Reads the whole body and adds headers to the response that describe the request and name the pod.
async fn add_pod_headers(State(pod): State<Arc<Pod>>, request: Request, next: Next) -> Response {
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
            response
                .headers_mut()
                .insert(HEADER_NAMES.clone(), names.expect("header names are a header value"));
            response
        }
        Err(error) => body_error(&error).into_response(),
    };
    response.headers_mut().insert(POD_NAME.clone(), pod.name.clone());
    response
}

fn body_error(error: &axum::Error) -> ApiError {
    let is_too_large = std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>());
    if is_too_large {
        ApiError::body_too_large(format!("the request body is longer than {MAX_BODY_BYTES} bytes"))
    } else {
        ApiError::bad_request(format!("cannot read the request body: {error}"))
    }
}
