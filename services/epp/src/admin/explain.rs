//! `POST /explain`: explains which endpoint a request would go to. The body is that of the request. Nothing
//! is booked.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use signalbox_intake::{Api, ParseOptions, parse};

use super::access::DebugRoutes;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    /// The pool, NAMESPACE/NAME; needed if there are several.
    pool: Option<String>,
    /// Path of the request; by default the path of the API that the body matches.
    path: Option<String>,
}

/// Returns the route for the metrics port.
pub(crate) fn routes(debug: DebugRoutes, body_limit_bytes: usize) -> Router {
    let limit = DefaultBodyLimit::max(body_limit_bytes);
    Router::new().route("/explain", post(respond)).layer(limit).with_state(debug)
}

async fn respond(
    State(debug): State<DebugRoutes>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<ExplainQuery>,
    body: Bytes,
) -> Response {
    let picker = match debug.picker(peer, query.pool.as_deref()) {
        Ok(picker) => picker,
        Err(refusal) => return *refusal,
    };
    let snapshot = picker.snapshot.load();
    // The target of a model rewrite is random, as for a request without a session.
    let target = |model: &str| snapshot.view.models.target(model, None, rand::random()).map(str::to_owned);
    let reading = ParseOptions { rewrite: &target, ..picker.parse_options(&snapshot.view) };
    let parsed = match query.path {
        Some(path) => parse(Api::for_path(&path), &body, &reading),
        None => parse(Api::Chat, &body, &reading).or_else(|_| parse(Api::Completions, &body, &reading)),
    };
    match parsed {
        Ok(parsed) => axum::Json(picker.explain(&parsed)).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
