//! `GET /decisions`: the latest decisions with their explanations, or in full with everything they read, so
//! that they can be replayed.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use signalbox_schedule::Recording;

use super::access::DebugRoutes;

/// Number of decisions in a response by default.
const DEFAULT_LIMIT: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionsQuery {
    /// The pool, NAMESPACE/NAME; needed if there are several.
    pool: Option<String>,
    /// Maximum number of decisions, latest first.
    limit: Option<usize>,
    /// Selects the decisions for the request with this id.
    request_id: Option<String>,
    /// Whether to return everything the decisions read.
    #[serde(default)]
    full: bool,
}

/// Returns the route for the metrics port.
pub(crate) fn routes(debug: DebugRoutes) -> Router {
    Router::new().route("/decisions", get(respond)).with_state(debug)
}

async fn respond(
    State(debug): State<DebugRoutes>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<DecisionsQuery>,
) -> Response {
    let picker = match debug.picker(peer, query.pool.as_deref()) {
        Ok(picker) => picker,
        Err(refusal) => return *refusal,
    };
    if picker.recorder.ring().capacity() == 0 {
        let reason = "decisions are not kept; start the EPP with --decision-history N to keep the latest N";
        return (StatusCode::NOT_FOUND, reason).into_response();
    }
    // Explaining many decisions over many endpoints takes too long for an async task.
    let text = tokio::task::spawn_blocking(move || {
        let selected = select(picker.recorder.ring().latest_first(), &query);
        if query.full {
            json_array(selected.iter())
        } else {
            json_array(selected.iter().map(|recording| recording.to_explained()))
        }
    });
    match text.await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn select(latest_first: Vec<Arc<Recording>>, query: &DecisionsQuery) -> Vec<Arc<Recording>> {
    let matches =
        |recording: &Arc<Recording>| query.request_id.is_none() || recording.request_id == query.request_id;
    latest_first.into_iter().filter(matches).take(query.limit.unwrap_or(DEFAULT_LIMIT)).collect()
}

/// Returns a JSON array with one entry per line.
fn json_array<T: Serialize>(entries: impl Iterator<Item = T>) -> serde_json::Result<String> {
    let lines = entries.map(|entry| serde_json::to_string(&entry)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]\n", lines.join(",\n")))
}
