//! `GET /decisions`: the latest decisions, and why they were made; in full, with all that they read, so that they can be replayed.

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

use crate::explain::Explainer;

/// How many decisions are told unless asked otherwise.
const USUAL_LIMIT: usize = 20;

/// Which decisions, and how much of each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// At most so many, the latest.
    limit: Option<usize>,
    /// Those about the request with this id.
    request_id: Option<String>,
    /// All that they read.
    #[serde(default)]
    full: bool,
}

/// The route, for the metrics port.
pub(crate) fn routes(explainer: Explainer) -> Router {
    Router::new().route("/decisions", get(answer)).with_state(explainer)
}

async fn answer(
    State(explainer): State<Explainer>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(asked): Query<Asked>,
) -> Response {
    if let Some(refusal) = explainer.refusal(peer) {
        return refusal;
    }
    let picker = explainer.picker;
    if picker.records.ring().capacity() == 0 {
        let why = "no decisions are kept; start the EPP with --decisions N to keep the latest N";
        return (StatusCode::NOT_FOUND, why).into_response();
    }
    // Explaining many decisions about many endpoints takes a while.
    let text = tokio::task::spawn_blocking(move || {
        let chosen = choose(picker.records.ring().latest_first(), &asked);
        if asked.full {
            list(chosen.iter())
        } else {
            list(chosen.iter().map(|recording| recording.account()))
        }
    });
    match text.await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn choose(latest_first: Vec<Arc<Recording>>, asked: &Asked) -> Vec<Arc<Recording>> {
    let wanted =
        |recording: &Arc<Recording>| asked.request_id.is_none() || recording.request_id == asked.request_id;
    latest_first.into_iter().filter(wanted).take(asked.limit.unwrap_or(USUAL_LIMIT)).collect()
}

/// A JSON array, one entry a line.
fn list<T: Serialize>(entries: impl Iterator<Item = T>) -> serde_json::Result<String> {
    let lines = entries.map(|entry| serde_json::to_string(&entry)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]\n", lines.join(",\n")))
}
